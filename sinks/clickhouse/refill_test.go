package clickhouse

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// story is a topic of orders, of two partitions, and a sink that writes it into
// its table while it grows.
type story struct {
	t      *testing.T
	sink   *Writer
	enc    *canonical.Encoder
	mu     sync.Mutex
	parts  [2][]change.Record
	newest map[string]string // number and version by order
	at     [2]int64          // where the sink is
	n      int
}

func newStory(t *testing.T) *story {
	s := &story{t: t, sink: open(t), enc: encoder(t), newest: map[string]string{}}
	for range 30 {
		s.publish()
	}
	for s.deliver() != nil {
		t.Fatal("the sink cannot write")
	}
	return s
}

// publish adds the next version of one of a dozen orders, now and then a deletion.
func (s *story) publish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.n % 12
	rec := numbered(fmt.Sprintf("o%02d", id), "x", int64(s.n/12+1), fmt.Sprint("n", s.n))
	rec.Deleted = s.n%12 == 7
	p := &s.parts[id%2]
	*p = append(*p, change.Record{Offset: int64(len(*p)), Timestamp: 1, Value: encode(s.t, s.enc, rec)})
	s.newest[rec.NativeID] = fmt.Sprintf("%s|%d", *rec.Number, rec.Version)
	if rec.Deleted {
		delete(s.newest, rec.NativeID)
	}
	s.n++
}

// deliver writes what the sink has not written.
func (s *story) deliver() error {
	b := s.since(&s.at)
	if len(b.Parts) == 0 {
		return nil
	}
	if err := s.sink.Write(s.t.Context(), b); err != nil {
		return err
	}
	for _, p := range b.Parts {
		s.at[p.Partition] = p.Last + 1
	}
	return nil
}

func (s *story) since(at *[2]int64) change.Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := change.Batch{Topic: "canonical.order"}
	for p := range s.parts {
		if recs := s.parts[p][at[p]:]; len(recs) > 0 {
			b.Parts = append(b.Parts, change.Part{Partition: int32(p), First: at[p], Last: int64(len(s.parts[p])) - 1, Records: slices.Clone(recs)})
		}
	}
	return b
}

// scan reads the story as a Source.
type scan struct {
	story *story
	at    [2]int64
}

func (r *scan) Read(_ context.Context, each func(change.Batch) error) (n int64, err error) {
	b := r.story.since(&r.at)
	for _, p := range b.Parts {
		r.at[p.Partition] = p.Last + 1
		n += int64(len(p.Records))
	}
	if n > 0 {
		err = each(b)
	}
	return n, err
}

// shown is what the table shows.
func (s *story) shown() string {
	s.t.Helper()
	return ask(s.t, s.sink, "[native_id, number, toString(version)] AS row FROM "+s.sink.opts.Database+".canonical_order FINAL ORDER BY native_id")
}

func (s *story) truth() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for id, newest := range s.newest {
		out = append(out, id+"|"+newest)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// exec changes the table by hand.
func (s *story) exec(statement string) {
	s.t.Helper()
	if err := s.sink.conn.Exec(s.t.Context(), strings.ReplaceAll(statement, "ORDERS", s.sink.opts.Database+".canonical_order")); err != nil {
		s.t.Fatalf("%s: %v", statement, err)
	}
}

const bogus = "INSERT INTO ORDERS (account_id, entity_id, native_id, number, version, _topic, _partition, _last) VALUES ('x', 'by hand', 'zz', 'bogus', 900, 'canonical.order', 0, 5)"

// damage deletes rows and puts others in, as somebody would by hand.
func (s *story) damage() {
	s.t.Helper()
	s.exec("DELETE FROM ORDERS WHERE native_id IN ('o01', 'o02', 'o03')")
	s.exec(bogus)
	s.exec("INSERT INTO ORDERS (account_id, entity_id, native_id, number, version, _topic, _partition, _last) SELECT account_id, entity_id, native_id, 'forged', 901, _topic, _partition, _last FROM ORDERS WHERE native_id = 'o04' LIMIT 1")
}

// refill fills the table anew.
func (s *story) refill(ctx context.Context, w *Writer) error {
	_, err := w.Refill(ctx, "order", &scan{story: s}, func(string, ...any) {})
	return err
}

// tidy says that nothing is left of refills.
func (s *story) tidy() {
	s.t.Helper()
	if left := ask(s.t, s.sink, "[name] AS row FROM system.tables WHERE database = '"+s.sink.opts.Database+"' AND name LIKE '%rebuild%'"); left != "" {
		s.t.Errorf("left behind: %s", left)
	}
	if held, err := s.sink.holds(s.t.Context(), "canonical_order", 0); err != nil || len(held) != 0 {
		s.t.Errorf("held still: %v, %v", held, err)
	}
}

func (s *story) check() {
	s.t.Helper()
	if got, want := s.shown(), s.truth(); got != want {
		s.t.Errorf("the table shows\n%s\nwant\n%s", got, want)
	}
}

// gate stands before the server, calls before each request, and is shut at one.
type gate struct {
	*httptest.Server
	mu     sync.Mutex
	passed int
	shutAt int  // the request at which the client is killed; 0 for none
	after  bool // the server carries that request out still
	before func()
	cancel func() // a dead client does not try again
}

func newGate(t *testing.T) *gate {
	target, err := url.Parse("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	plain := httputil.NewSingleHostReverseProxy(target)
	g := &gate{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.shutAt > 0 && g.passed >= g.shutAt {
			panic(http.ErrAbortHandler)
		}
		g.before()
		if g.passed++; g.passed == g.shutAt {
			if g.after {
				plain.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithoutCancel(r.Context())))
			}
			g.cancel()
			panic(http.ErrAbortHandler)
		}
		plain.ServeHTTP(w, r)
	}))
	g.Config.ErrorLog = nil
	t.Cleanup(g.Close)
	return g
}

func (g *gate) writer(t *testing.T, of *Writer) *Writer {
	return openBare(t, func(o *Options) {
		o.Addresses, o.Database = []string{strings.TrimPrefix(g.URL, "http://")}, of.opts.Database
	})
}

// What somebody did to a table by hand is undone, while the sink goes on.
func TestRefill(t *testing.T) {
	s := newStory(t)
	before := columnsOf(t, s.sink)
	for name, damage := range map[string]func(){
		"rows deleted and put in":  s.damage,
		"emptied":                  func() { s.exec("TRUNCATE TABLE ORDERS") },
		"a column dropped":         func() { s.exec("ALTER TABLE ORDERS DROP COLUMN number") },
		"dropped":                  func() { s.exec("DROP TABLE ORDERS SYNC") },
		"a column of another type": func() { s.exec("ALTER TABLE ORDERS MODIFY COLUMN number LowCardinality(Nullable(String))") },
		"a column more":            func() { s.exec("ALTER TABLE ORDERS ADD COLUMN mine String") },
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			damage()
			g := newGate(t)
			g.before = func() {
				s.publish()
				_ = s.deliver() // refused while the table is absent or held
			}
			if err := s.refill(t.Context(), g.writer(t, s.sink)); err != nil {
				t.Fatal(err)
			}
			if err := s.deliver(); err != nil {
				t.Fatal(err)
			}
			s.check()
			s.tidy()
			if after := columnsOf(t, s.sink); after != before {
				t.Errorf("columns\n%s\nwere\n%s", after, before)
			}
			got, err := s.sink.Resume(t.Context(), "canonical.order", []int32{0, 1})
			if err != nil || got[0].Next != s.at[0] || got[1].Next != s.at[1] {
				t.Errorf("the sink would go on at %v, want %v: %v", got, s.at, err)
			}
		})
	}
}

// Cut off before or behind any of its requests, what serves is whole, the sink
// goes on where it was, and the next refill is as if none had been before.
func TestRefillCutOffAnywhere(t *testing.T) {
	for _, after := range []bool{false, true} {
		outcomes := map[string]int{}
		s := newStory(t)
		for at := 1; ; at++ {
			s.damage()
			g := newGate(t)
			g.shutAt, g.after = at, after
			g.before = func() {
				s.publish()
				_ = s.deliver()
			}
			ctx, cancel := context.WithCancel(t.Context())
			g.cancel = cancel
			err := s.refill(ctx, g.writer(t, s.sink))
			cancel()
			if err == nil {
				if at < 10 || outcomes["old"] == 0 || outcomes["new"] == 0 {
					t.Errorf("%d requests, %v: the test cuts too little", at, outcomes)
				}
				break
			}
			shown := s.shown()
			_ = s.deliver() // what was refused while the table was held stays to be sent
			if strings.Contains(shown, "bogus") {
				outcomes["old"]++
			} else {
				outcomes["new"]++
				if err := s.deliver(); err != nil {
					t.Errorf("cut off at %d (carried out: %v): the sink cannot go on: %v", at, after, err)
				}
				s.check()
			}
			if err := s.refill(t.Context(), s.sink); err != nil {
				t.Fatalf("cut off at %d (carried out: %v): the next one: %v", at, after, err)
			}
			if err := s.deliver(); err != nil {
				t.Fatal(err)
			}
			s.check()
			s.tidy()
			if t.Failed() {
				return
			}
		}
	}
}

// The sink lifts a hold that nobody will: it ends what the rebuild could still do
// first.
func TestHoldOfOneThatIsDeadIsLifted(t *testing.T) {
	s := newStory(t)
	s.exec("ALTER TABLE ORDERS ADD CONSTRAINT rebuild_hold_1000000 CHECK 0")
	s.exec("CREATE TABLE ORDERS_rebuild_0a0b0c0d AS ORDERS")
	s.publish()
	err := s.deliver()
	retryable(t, err)
	if !strings.Contains(err.Error(), "goes on by itself") {
		t.Errorf("the message must say what it waits for: %v", err)
	}
	if err := s.deliver(); err != nil {
		t.Fatal(err)
	}
	s.check()
	s.tidy()

	// So does a sink that starts, before it has anything to write.
	s.exec("ALTER TABLE ORDERS ADD CONSTRAINT rebuild_hold_1000000 CHECK 0")
	if err := s.sink.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.tidy()

	// A young one stays.
	now := ask(t, s.sink, "[toString(toUnixTimestamp(now()))] AS row")
	s.exec("ALTER TABLE ORDERS ADD CONSTRAINT rebuild_hold_" + now + " CHECK 0")
	s.publish()
	retryable(t, s.deliver())
	if err := s.sink.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	retryable(t, s.deliver())
}

// Of two refills of one table the later one goes on, and the earlier one cannot
// put its table in place any more.
func TestRefillsOfOneTable(t *testing.T) {
	s := newStory(t)
	s.damage()
	g := newGate(t)
	requests := 0
	g.before = func() {
		s.publish()
		if requests++; requests == 8 { // it has begun to fill
			if err := s.refill(t.Context(), s.sink); err != nil {
				t.Error(err)
			}
		}
	}
	permanent(t, s.refill(t.Context(), g.writer(t, s.sink)), "another rebuild")
	if err := s.deliver(); err != nil {
		t.Fatal(err)
	}
	s.check()
	s.tidy()
}

// What is not as the sink made it is not replaced, and what else does not come
// from a compacted topic neither.
func TestRefillRefuses(t *testing.T) {
	w := open(t)
	for _, record := range []string{"identity_link", "letter", "feed", "customer", ""} {
		_, err := w.Look(t.Context(), record)
		permanent(t, err, "opportunity")
	}
	if got, want := strings.Join(Refills(), " "), "account product opportunity order subscription invoice payment deal"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	s := newStory(t)
	s.exec("DROP TABLE ORDERS SYNC")
	s.exec("CREATE TABLE ORDERS (a Int8) ENGINE = MergeTree ORDER BY a")
	_, err := s.sink.Look(t.Context(), "order")
	permanent(t, err, "MergeTree", "TRUNCATE")
}
