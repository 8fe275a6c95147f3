package clickhouse

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

func TestUnreadableRecordStops(t *testing.T) {
	w := open(t)
	good := part(t, 2, 10, order("a", "x", 1), order("b", "x", 1))
	for name, value := range map[string][]byte{
		"tombstone":   nil,
		"plain text":  []byte("hello"),
		"cut short":   good.Records[1].Value[:20],
		"other topic": part(t, 0, 0, &canonical.FeedRecord{}).Records[0].Value,
	} {
		t.Run(name, func(t *testing.T) {
			bad := change.Part{Partition: 2, First: 10, Last: 11, Records: []change.Record{good.Records[0], {Offset: 11, Value: value}}}
			permanent(t, w.Write(t.Context(), batch("canonical.order", bad)), "canonical_order", "partition 2 offsets 10 to 11", "offset 11")
			wants(t, w, "count()", rawOrders, "0") // nothing of it, not even the good one
		})
	}
	write(t, w, "canonical.order", good) // and the writer is still of use
	wants(t, w, "count()", rawOrders, "2")
}

func TestRegistryThatDoesNotAnswer(t *testing.T) {
	w := open(t)
	bad := part(t, 0, 0, order("a", "x", 1))
	bad.Records[0].Value[4] = 99
	err := w.Write(t.Context(), batch("canonical.order", bad))
	retryable(t, err)
	if !errors.Is(err, canonical.ErrSchema) || !strings.Contains(err.Error(), "schema id 99") {
		t.Errorf("got %v", err)
	}
}

func TestValuesThatAColumnCannotShow(t *testing.T) {
	w := open(t)
	for name, spoil := range map[string]func(*canonical.OrderRecord){
		"day after 2299":   func(r *canonical.OrderRecord) { r.OrderDate = ptr(int32(endDay)) },
		"day before 1900":  func(r *canonical.OrderRecord) { r.OrderDate = ptr(int32(minDay - 1)) },
		"time after 2261":  func(r *canonical.OrderRecord) { r.CreatedAt = ptr(int64(endMicros)) },
		"time before 1900": func(r *canonical.OrderRecord) { r.CreatedAt = ptr(minMicros - 1) },
		"17 bytes":         func(r *canonical.OrderRecord) { r.Net = make(canonical.Decimal, 17) },
		"39 digits": func(r *canonical.OrderRecord) {
			r.Net = canonical.Decimal{0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
		},
		"line": func(r *canonical.OrderRecord) { r.Lines = []canonical.Line{{Quantity: make(canonical.Decimal, 17)}} },
	} {
		t.Run(name, func(t *testing.T) {
			r := order("a", "x", 1)
			spoil(r)
			permanent(t, w.Write(t.Context(), batch("canonical.order", part(t, 0, 7, r))), "offset 7")
		})
	}
	wants(t, w, "count()", rawOrders, "0")
}

func TestUnsoundBatches(t *testing.T) {
	w := open(t)
	good := part(t, 0, 10, order("a", "x", 1), order("b", "x", 1))
	for name, spoil := range map[string]func(*change.Part){
		"before the range": func(p *change.Part) { p.First = 11 },
		"behind the range": func(p *change.Part) { p.Last = 10 },
		"turned round":     func(p *change.Part) { p.Records[0], p.Records[1] = p.Records[1], p.Records[0] },
		"empty range":      func(p *change.Part) { p.Last, p.Records = 9, nil },
		"no partition":     func(p *change.Part) { p.Partition = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			p := good
			p.Records = append([]change.Record(nil), good.Records...)
			spoil(&p)
			permanent(t, w.Write(t.Context(), batch("canonical.order", p)))
		})
	}
	permanent(t, w.Write(t.Context(), batch("canonical.order", good, good)), "twice")
	permanent(t, w.Write(t.Context(), batch("cdc.crm.public.party", good)), "cdc.crm.public.party")
	wants(t, w, "count()", rawOrders, "0")
}

func TestNotMigrated(t *testing.T) {
	w := openBare(t)
	b := batch("canonical.order", part(t, 0, 0, order("a", "x", 1)))
	permanent(t, w.Write(t.Context(), b), "they add what is missing")
	_, err := w.Resume(t.Context(), "canonical.order", []int32{0})
	permanent(t, err, "they add what is missing")
	if err := w.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), b); err != nil {
		t.Errorf("after Migrate: %v", err)
	}
}

// A migration may add columns before a sink knows them; a sink must not start
// before its columns are there.
func TestColumnsGrow(t *testing.T) {
	w := open(t)
	table := w.opts.Database + ".canonical_order"
	if err := w.conn.Exec(t.Context(), "ALTER TABLE "+table+" ADD COLUMN channel String DEFAULT 'none' FIRST, ADD COLUMN shouted Nullable(String) MATERIALIZED upper(number) AFTER number"); err != nil {
		t.Fatal(err)
	}
	write(t, w, "canonical.order", part(t, 0, 0, numbered("a", "x", 1, "s-1")))
	wants(t, w, "native_id, number, channel, shouted", rawOrders, "a|s-1|none|S-1")
	if err := w.conn.Exec(t.Context(), "ALTER TABLE "+table+" DROP COLUMN _offset"); err != nil {
		t.Fatal(err)
	}
	lost(t, w.Write(t.Context(), batch("canonical.order", part(t, 0, 1, order("b", "x", 1)))), "_offset", "syncline rebuild order")
}

func TestNoSecretInErrors(t *testing.T) {
	const password = "p@ss/w%rd word"
	hear := newProxy(t)
	hear.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "Code: 516. DB::Exception: "+password+": Authentication failed. (AUTHENTICATION_FAILED)")
	})
	b := batch("canonical.order", part(t, 0, 0, order("a", "x", 1)))
	for name, address := range map[string]string{"nobody listens": "127.0.0.1:1", "refused": hear.host()} {
		w := openBare(t, func(o *Options) { o.Addresses, o.Password = []string{address}, password })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, resumeErr := w.Resume(ctx, "canonical.order", []int32{0})
		for what, err := range map[string]error{"write": w.Write(ctx, b), "resume": resumeErr, "migrate": w.Migrate(ctx)} {
			if err == nil {
				t.Fatalf("%s, %s: want an error", name, what)
			}
			for _, secret := range []string{password, "p%40ss", "w%25rd"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%s, %s: the password is in %q", name, what, err)
				}
			}
		}
		cancel()
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"database":    {Database: "a; DROP TABLE b"},
		"protocol":    {Protocol: "carrier pigeon"},
		"compression": {Compression: "rar"},
		"negative":    {MaxRows: -1},
		"topics":      {},
	} {
		if name != "topics" {
			o.Topic = topicOf
		}
		if _, err := Open(o, registry{}); err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
	o, err := Options{Topic: topicOf}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if o.Database != "syncline" || o.Protocol != HTTP || o.Addresses[0] != "127.0.0.1:8123" {
		t.Errorf("defaults: %+v", o)
	}
}

func TestSplit(t *testing.T) {
	part := func(partition int32, first, last int64, sizes ...int) change.Part {
		p := change.Part{Partition: partition, First: first, Last: last}
		for i, n := range sizes {
			p.Records = append(p.Records, change.Record{Offset: first + int64(i), Value: make([]byte, n)})
		}
		return p
	}
	for name, c := range map[string]struct {
		parts []change.Part
		want  []string
	}{
		"one":             {[]change.Part{part(0, 0, 1, 1, 1)}, []string{"partition 0 offsets 0 to 1"}},
		"sorted":          {[]change.Part{part(1, 5, 5, 1), part(0, 0, 9, 1)}, []string{"partition 0 offsets 0 to 9, partition 1 offsets 5 to 5"}},
		"by rows":         {[]change.Part{part(0, 0, 9, 1, 1, 1, 1)}, []string{"partition 0 offsets 0 to 2", "partition 0 offsets 3 to 9"}},
		"at the border":   {[]change.Part{part(0, 0, 9, 1, 1, 1), part(1, 0, 0, 1)}, []string{"partition 0 offsets 0 to 9", "partition 1 offsets 0 to 0"}},
		"across":          {[]change.Part{part(0, 0, 9, 1, 1), part(1, 0, 5, 1, 1)}, []string{"partition 0 offsets 0 to 9, partition 1 offsets 0 to 0", "partition 1 offsets 1 to 5"}},
		"by bytes":        {[]change.Part{part(0, 0, 9, 60, 60, 30)}, []string{"partition 0 offsets 0 to 0", "partition 0 offsets 1 to 9"}},
		"one over all":    {[]change.Part{part(0, 0, 2, 500, 1, 500)}, []string{"partition 0 offsets 0 to 0", "partition 0 offsets 1 to 1", "partition 0 offsets 2 to 2"}},
		"without records": {[]change.Part{part(0, 0, 9), part(1, 0, 1)}, nil},
		"none":            {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			pieces, err := split(change.Batch{Parts: c.parts}, 3, 100)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range pieces {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTokensDiffer(t *testing.T) {
	rec := func(offset int64, value string) change.Record {
		return change.Record{Offset: offset, Value: []byte(value)}
	}
	one := func(partition int32, first, last int64, recs ...change.Record) piece {
		return piece{parts: []change.Part{{Partition: partition, First: first, Last: last, Records: recs}}}
	}
	seen := map[string]string{}
	for name, token := range map[string]string{
		"plain":           one(0, 0, 1, rec(0, "ab"), rec(1, "c")).token("t", "s"),
		"other topic":     one(0, 0, 1, rec(0, "ab"), rec(1, "c")).token("u", "s"),
		"other columns":   one(0, 0, 1, rec(0, "ab"), rec(1, "c")).token("t", "r"),
		"other partition": one(1, 0, 1, rec(0, "ab"), rec(1, "c")).token("t", "s"),
		"other end":       one(0, 0, 2, rec(0, "ab"), rec(1, "c")).token("t", "s"),
		"other border":    one(0, 0, 1, rec(0, "a"), rec(1, "bc")).token("t", "s"),
		"other offset":    one(0, 0, 1, rec(0, "abc")).token("t", "s"),
		"other value":     one(0, 0, 1, rec(0, "ab"), rec(1, "d")).token("t", "s"),
	} {
		if other, ok := seen[token]; ok {
			t.Errorf("%s and %s have the token %s", name, other, token)
		}
		seen[token] = name
	}
	if a, b := one(0, 0, 1, rec(0, "ab")).token("t", "s"), one(0, 0, 1, rec(0, "ab")).token("t", "s"); a != b {
		t.Errorf("the same piece has the tokens %s and %s", a, b)
	}
}

// Before the first word with a server, an answer that is not ClickHouse's means
// a wrong address or login.
func TestStartAtAnAddressThatIsNoClickHouse(t *testing.T) {
	for name, c := range map[string]struct {
		status    int
		body      string
		permanent bool
		word      string
	}{
		"another server": {404, "404 page not found", true, "address"},
		"native port":    {400, "Port 9000 is for clickhouse-client program", true, "8123"},
		"login":          {401, "who are you", true, "password"},
		"proxy":          {502, "bad gateway", false, ""},
		"busy":           {429, "slow down", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t)
			p.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			w := openBare(t, func(o *Options) { o.Addresses = []string{p.host()} })
			err := w.Migrate(t.Context())
			if c.permanent {
				permanent(t, err, c.word)
			} else {
				retryable(t, err)
			}
		})
	}
}
