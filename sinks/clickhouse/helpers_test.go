package clickhouse

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"syncline/deploy/embedded/chtest"
	"syncline/schemas/avsc"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

var address string

func TestMain(m *testing.M) { os.Exit(chtest.Main(m, &address)) }

func ptr[T any](v T) *T { return &v }

// money is an amount of so many cents.
func cents(n int64) canonical.Decimal {
	d, err := canonical.NewDecimal(big.NewInt(n), 2)
	if err != nil {
		panic(err)
	}
	return d
}

// at is a time of 2026-11-22.
func at(hour, minute, second int) *int64 {
	return ptr(time.Date(2026, 11, 22, hour, minute, second, 0, time.UTC).UnixMicro())
}

// registry knows every schema of schemas/avsc under the number of its name.
type registry map[int]string

func (r registry) SchemaByID(_ context.Context, id int) (string, error) {
	if s, ok := r[id]; ok {
		return s, nil
	}
	return "", errors.New("registry does not answer")
}

func names() []string {
	return []string{"account", "identity_link", "product", "opportunity", "order", "subscription", "invoice", "payment", "deal", "letter", "feed"}
}

func schemas(t testing.TB) registry {
	t.Helper()
	r := registry{}
	for i, n := range names() {
		text, err := avsc.Text(n)
		if err != nil {
			t.Fatal(err)
		}
		r[i+1] = text
	}
	return r
}

// encode frames a record by its type.
func encode(t testing.TB, enc *canonical.Encoder, rec any) []byte {
	t.Helper()
	id := map[string]uint32{}
	for i, n := range names() {
		id["*canonical."+strings.ReplaceAll(n, "_", "")+"record"] = uint32(i + 1)
	}
	out, err := enc.Encode(binary.BigEndian.AppendUint32([]byte{0}, id[strings.ToLower(fmt.Sprintf("%T", rec))]), rec)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func encoder(t testing.TB) *canonical.Encoder {
	t.Helper()
	enc, err := canonical.NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	return enc
}

// part makes a part whose records have the offsets first, first+1, …
func part(t testing.TB, partition int32, first int64, recs ...any) change.Part {
	t.Helper()
	enc := encoder(t)
	p := change.Part{Partition: partition, First: first, Last: first + int64(len(recs)) - 1}
	for i, rec := range recs {
		p.Records = append(p.Records, change.Record{Offset: first + int64(i), Timestamp: 1, Value: encode(t, enc, rec)})
	}
	return p
}

func batch(topic string, parts ...change.Part) change.Batch {
	return change.Batch{Topic: topic, Parts: parts}
}

var databases atomic.Int64

// open returns a writer onto a migrated database of the test's own.
func open(t testing.TB, change ...func(*Options)) *Writer {
	t.Helper()
	w := openBare(t, change...)
	if err := w.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func topicOf(record string) string {
	switch record {
	case "letter", "feed":
		return "syncline." + record + "s"
	}
	return "canonical." + record
}

func openBare(t testing.TB, change ...func(*Options)) *Writer {
	t.Helper()
	opts := Options{Topic: topicOf, Addresses: []string{address}, Database: fmt.Sprintf("sink_%d_%d", os.Getpid(), databases.Add(1)), Compression: None}
	for _, c := range change {
		c(&opts)
	}
	w, err := Open(opts, schemas(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func write(t testing.TB, w *Writer, topic string, parts ...change.Part) {
	t.Helper()
	if err := w.Write(t.Context(), batch(topic, parts...)); err != nil {
		t.Fatal(err)
	}
}

// ask returns the rows of a query as text, a row a line, columns by |.
func ask(t testing.TB, w *Writer, query string) string {
	t.Helper()
	rows, err := w.conn.Query(t.Context(), "SELECT arrayStringConcat(arrayMap(x -> ifNull(x, 'NULL'), row), '|') FROM (SELECT "+query+")")
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return strings.Join(out, "\n")
}

// wants compares the columns of a view, all as text, with the rows given.
func wants(t testing.TB, w *Writer, columns, from string, rows ...string) {
	t.Helper()
	var list []string
	for c := range strings.SplitSeq(columns, ", ") {
		list = append(list, "toString("+c+")")
	}
	got := ask(t, w, "["+strings.Join(list, ", ")+"] AS row FROM "+from)
	if want := strings.Join(rows, "\n"); got != want {
		t.Errorf("%s from %s:\ngot\n%s\nwant\n%s", columns, from, got, want)
	}
}

// unscaled is the number of a decimal text at scale 9.
func unscaled(t testing.TB, s string) *big.Int {
	t.Helper()
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		t.Fatalf("%q is no number", s)
	}
	r.Mul(r, big.NewRat(1_000_000_000, 1))
	if !r.IsInt() {
		t.Fatalf("%q has more than 9 places", s)
	}
	return r.Num()
}
