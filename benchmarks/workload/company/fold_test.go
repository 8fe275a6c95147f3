package company

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/avro"

	"syncline/benchmarks/oracle"
	"syncline/benchmarks/workload"
)

// The fold here knows nothing of the model: it decodes records with
// github.com/twmb/avro and keeps the latest image of every row by position.

type folded struct {
	schemas map[uint32]*avro.Schema
	rows    map[string]*foldedRow
	feeds   map[string]*oracleFeed
}

type oracleFeed struct{ received, repeated, stale, letters int }

type foldedRow struct {
	topic, key string
	lsn        int64
	streamed   bool
	alive      bool
	image      map[string]any
	commit     instant
	born       instant
	lifeLSN    int64
	first      map[string]instant // earliest time at which the state column had this word
	snapshot   map[string]any     // the snapshot image of this life
}

func fold(t *testing.T, g *Generator, records []workload.Record) *folded {
	t.Helper()
	f := &folded{schemas: map[uint32]*avro.Schema{}, rows: map[string]*foldedRow{}, feeds: map[string]*oracleFeed{}}
	for i, s := range g.Schemas() {
		schema, err := avro.Parse(s.Text)
		if err != nil {
			t.Fatalf("%s: %v", s.Subject, err)
		}
		f.schemas[uint32(g.ids[i])] = schema
	}
	for _, topic := range g.Topics() {
		f.feeds[topic] = &oracleFeed{}
	}
	for i, r := range records {
		if err := f.take(r); err != nil {
			t.Fatalf("record %d of %s: %v", i, r.Topic, err)
		}
	}
	return f
}

// decode reads framed Avro; false where the bytes are none.
func (f *folded) decode(b []byte) (map[string]any, bool) {
	if len(b) < 5 || b[0] != 0 {
		return nil, false
	}
	s := f.schemas[binary.BigEndian.Uint32(b[1:])]
	if s == nil {
		return nil, false
	}
	var v map[string]any
	rest, err := s.Decode(b[5:], &v)
	return v, err == nil && len(rest) == 0
}

var stateColumn = map[string]string{"deals": "stage", "contracts": "status", "bills": "status", "orders": "status"}

const limit = 1 << 20

func (f *folded) take(r workload.Record) error {
	feed := f.feeds[r.Topic]
	feed.received++
	key, ok := f.decode(r.Key)
	if !ok {
		feed.letters++
		return nil
	}
	if r.Value == nil {
		return nil
	}
	env, ok := f.decode(r.Value)
	if !ok || len(r.Value) > limit {
		feed.letters++
		return nil
	}
	table := r.Topic[strings.LastIndex(r.Topic, ".")+1:]
	after, _ := env["after"].(map[string]any)
	if after != nil && after["status"] == "zombie" {
		feed.letters++
		return nil
	}
	id := r.Topic + "/" + rowText(key)
	src := env["source"].(map[string]any)
	lsn, op := src["lsn"].(int64), env["op"].(string)
	streamed := op != "r"
	row := f.rows[id]
	if row == nil {
		row = &foldedRow{topic: r.Topic, key: rowText(key), lsn: -1, first: map[string]instant{}}
		f.rows[id] = row
	}
	at := instant{at: src["ts_ms"].(int64) * 1000}
	if us, ok := src["ts_us"].(int64); ok {
		at.at = us
	}
	if op == "r" {
		at = firstOf(after, changedColumns[systemOf(r.Topic)]...)
	}
	newer := lsn > row.lsn || lsn == row.lsn && streamed && !row.streamed
	switch {
	case lsn == row.lsn && streamed == row.streamed:
		feed.repeated++
		return nil
	case !newer:
		feed.stale++
		// Overtaken: it still says when something was so.
		if after != nil && lsn >= row.lifeLSN && row.alive {
			f.observe(row, table, after, at)
		}
		return nil
	}
	if op == "c" || op == "r" {
		row.first, row.lifeLSN, row.born, row.snapshot = map[string]instant{}, lsn, at, nil
		if op == "r" {
			row.born, row.snapshot = firstOf(after, changedColumns[systemOf(r.Topic)][1]), after
		}
	}
	previous := row.image
	row.lsn, row.streamed, row.alive, row.commit = lsn, streamed, op != "d", at
	if op == "d" {
		if after != nil {
			return fmt.Errorf("a delete with an after")
		}
		before := env["before"].(map[string]any)
		full := table == "bills" || table == "debtors"
		if same := rowText(before) == rowText(previous); full != same {
			return fmt.Errorf("before of a delete is the last image: %v, want %v: %v", same, full, before)
		}
		row.image = nil
		return nil
	}
	for col, v := range after {
		if v == placeholder {
			after[col] = previous[col]
		}
	}
	row.image = after
	f.observe(row, table, after, at)
	return nil
}

func (f *folded) observe(row *foldedRow, table string, image map[string]any, at instant) {
	col, ok := stateColumn[table]
	if !ok {
		return
	}
	word, _ := image[col].(string)
	if old, ok := row.first[word]; !ok || at.at < old.at {
		row.first[word] = at
	}
}

// changedColumns are the times of a row by system: last change, creation.
var changedColumns = map[string][]string{
	"crm": {"touched_at", "inserted_at"}, "subs": {"modified", "created"}, "erp": {"changed_at", "booked_at"},
}

func systemOf(topic string) string { return strings.Split(topic, ".")[1] }

func firstOf(image map[string]any, columns ...string) instant {
	for _, c := range columns {
		switch v := image[c].(type) {
		case int64:
			return instant{v, true}
		case time.Time:
			return instant{v.UnixMicro(), true}
		case string:
			at, err := time.Parse(time.RFC3339Nano, v)
			if err == nil {
				return instant{at.UnixMicro(), true}
			}
		}
	}
	return instant{}
}

func rowText(row map[string]any) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(row)) {
		fmt.Fprintf(&b, "%s=%s;", k, valueText(row[k]))
	}
	return b.String()
}

func valueText(v any) string {
	switch v := v.(type) {
	case []byte:
		n := int64(0)
		for i, c := range v {
			if i == 0 {
				n = int64(int8(c))
			} else {
				n = n<<8 | int64(c)
			}
		}
		return fmt.Sprint(n)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case interface{ RatString() string }:
		return v.RatString()
	default:
		return fmt.Sprint(v)
	}
}

// compare holds that the fold of the records gives the rows of the model.
func (f *folded) compare(t *testing.T, g *Generator) {
	t.Helper()
	live := 0
	for _, tab := range g.tables {
		for _, o := range tab.objects {
			m := o.m()
			vals := o.row(nil)
			key := modelText(tab, vals, tab.keys)
			row := f.rows[tab.topic+"/"+key]
			if row == nil && !m.live {
				continue // gone before the snapshot
			}
			if row == nil {
				t.Fatalf("%s: row %s of the model is in no record", tab.topic, key)
			}
			if row.alive != m.live {
				t.Fatalf("%s %s: alive %v in the records, %v in the model", tab.topic, key, row.alive, m.live)
			}
			if !m.live {
				continue
			}
			live++
			var all []int
			for i := range tab.cols {
				if _, ok := row.image[tab.cols[i].name]; !ok && tab.cols[i].later {
					// Not touched since the column was added: its default.
					if vals[i] != tab.cols[i].dflt {
						t.Fatalf("%s %s: %s is %v in the model and not in the records", tab.topic, key, tab.cols[i].name, vals[i])
					}
					continue
				}
				all = append(all, i)
			}
			if got, want := rowText(row.image), modelText(tab, vals, all); got != want {
				t.Fatalf("%s: the records give\n%s\nthe model\n%s", tab.topic, got, want)
			}
			if row.commit != m.commit || row.born != m.born {
				t.Fatalf("%s %s: committed %v, born %v; in the model %v, %v", tab.topic, key, row.commit, row.born, m.commit, m.born)
			}
			f.compareMilestones(t, row, o)
		}
	}
	alive := 0
	for id, row := range f.rows {
		if row.alive {
			if strings.Contains(id, ".bill_items/") && row.image["bill_id"].(int64) > 1<<33 {
				continue // of a bill that never comes; counted with the live ones below
			}
			alive++
		}
	}
	if strays := int(g.strays()); alive+strays != live {
		t.Fatalf("%d live rows in the records and %d of bills that never come, %d in the model", alive, strays, live)
	}
	truth, err := g.Truth()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range truth["feed_health"] {
		got := f.feeds[row["topic"]]
		want := fmt.Sprintf("received %s, repeated+stale %d, letters %s", row["received"], atoi(t, row["repeated"])+atoi(t, row["stale"]), row["letters"])
		if text := fmt.Sprintf("received %d, repeated+stale %d, letters %d", got.received, got.repeated+got.stale, got.letters); text != want {
			t.Errorf("%s: the records give %s, the truth %s", row["topic"], text, want)
		}
		if fmt.Sprint(got.repeated) != row["repeated"] {
			t.Errorf("%s: %d repeated, the truth says %s", row["topic"], got.repeated, row["repeated"])
		}
	}
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (g *Generator) strays() int64 {
	var n int64
	for _, o := range g.t.billItems.objects {
		if l := o.(*line); l.live && l.of > 1<<33 {
			n++
		}
	}
	return n
}

// compareMilestones holds that the times which the model remembers are the
// earliest that any image shows.
func (f *folded) compareMilestones(t *testing.T, row *foldedRow, o object) {
	t.Helper()
	earliest := func(words ...string) instant {
		var out instant
		for _, w := range words {
			at, ok := row.first[w]
			if !ok {
				continue
			}
			if at.approx && w != dealWon && w != dealLost && w != contractLive {
				at = firstOf(row.snapshot, "issued_at")
			}
			if out.at == 0 || at.at < out.at {
				out = at
			}
		}
		return out
	}
	var got, want []instant
	switch d := o.(type) {
	case *deal:
		got, want = []instant{earliest(dealWon), earliest(dealLost)}, []instant{d.won, d.lost}
	case *contract:
		got, want = []instant{earliest(contractLive)}, []instant{d.activated}
	case *bill:
		got, want = []instant{earliest(billIssued, billSettled)}, []instant{d.invoiced}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%s %s: the records give the milestones %v, the model %v", row.topic, row.key, got, want)
	}
}

// modelText writes columns as valueText does what twmb/avro decodes.
func modelText(tab *table, vals []val, columns []int) string {
	m := map[string]any{}
	for _, i := range columns {
		c, v := tab.cols[i], vals[i]
		switch {
		case v.null:
			m[c.name] = nil
		case c.kind == colText || c.kind == colEnum || c.kind == colUUID || c.kind == colJSON:
			m[c.name] = v.s
		case c.kind == colBool:
			m[c.name] = v.i == 1
		case c.kind == colDouble:
			m[c.name] = float64(v.i) / 1000
		case c.kind == colDecimal || c.kind == colConnectDecimal:
			m[c.name] = ratText(v.i, c.scale)
		case c.kind == colZoned:
			m[c.name] = time.UnixMicro(v.i).UTC().Format(zonedForm)
		case c.kind == colMicros:
			m[c.name] = time.UnixMicro(v.i)
		case c.kind == colDate:
			m[c.name] = time.Unix(v.i*86400, 0)
		default:
			m[c.name] = v.i
		}
	}
	return rowText(m)
}

func differs(t *testing.T, view string, a, b []oracle.Row) {
	t.Helper()
	if len(a) != len(b) {
		t.Errorf("%s: %d rows and %d", view, len(a), len(b))
		return
	}
	for i := range a {
		if !maps.Equal(a[i], b[i]) {
			t.Errorf("%s: row %v\nand %v", view, a[i], b[i])
			return
		}
	}
}

func TestRecordsFoldToTheModel(t *testing.T) {
	for _, c := range []Config{
		{Seed: 1, Accounts: 600},
		{Seed: 2, Accounts: 60, Deals: 1200},
		{Seed: 3, Accounts: 400, History: -1},
		{Seed: 4, Accounts: 200, Transport: &Transport{Redelivered: 0.5, RewindLength: 200, Stalled: 0.3, StallFor: time.Hour, StalledLong: 0.1, Poison: 0.02, Oversized: 0.001}},
	} {
		t.Run(fmt.Sprint("seed ", c.Seed), func(t *testing.T) {
			g := generate(t, c)
			f := fold(t, g, drain(g))
			f.compare(t, g)
		})
	}
}

func ratText(n int64, scale int) string { return big.NewRat(n, int64(math.Pow10(scale))).RatString() }
