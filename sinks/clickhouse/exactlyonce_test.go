package clickhouse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

const rawOrders = "canonical_order"

func numbered(id, account string, version int64, number string) *canonical.OrderRecord {
	r := order(id, account, version)
	r.Number = &number
	return r
}

// stopMerges keeps the raw rows countable.
func stopMerges(t *testing.T, w *Writer, table string) {
	t.Helper()
	if err := w.conn.Exec(t.Context(), "SYSTEM STOP MERGES "+w.opts.Database+"."+table); err != nil {
		t.Fatal(err)
	}
}

func TestSameBatchTwice(t *testing.T) {
	w := open(t)
	stopMerges(t, w, rawOrders)
	p0, p1 := part(t, 0, 10, order("a", "x", 1), order("b", "x", 1)), part(t, 3, 5, order("c", "y", 1))
	write(t, w, "canonical.order", p0, p1)
	write(t, w, "canonical.order", p1, p0) // the order of parts is the caller's business
	wants(t, w, "count()", rawOrders, "3")
	wants(t, w, "count()", "orders", "3")
}

// An engine without a memory for tokens, an answer that came after the memory
// was gone: versions alone must do.
func TestSameBatchTwiceWithoutToken(t *testing.T) {
	w := open(t)
	if err := w.conn.Exec(t.Context(), "ALTER TABLE "+w.opts.Database+".canonical_order MODIFY SETTING non_replicated_deduplication_window = 0"); err != nil {
		t.Fatal(err)
	}
	stopMerges(t, w, rawOrders)
	p := part(t, 0, 10, order("a", "x", 1), order("b", "x", 1))
	write(t, w, "canonical.order", p)
	write(t, w, "canonical.order", p)
	wants(t, w, "count()", rawOrders, "4")
	wants(t, w, "native_id, version", "orders ORDER BY native_id", "a|1", "b|1")
}

// The same offsets with other content (a topic made anew) must not vanish
// behind the token of the old ones.
func TestSameRangeOtherContent(t *testing.T) {
	w := open(t)
	write(t, w, "canonical.order", part(t, 0, 10, order("a", "x", 1)))
	write(t, w, "canonical.order", part(t, 0, 10, order("b", "x", 1)))
	wants(t, w, "native_id", "orders ORDER BY native_id", "a", "b")
}

// After a rebalance the new member's batches have other boundaries, and the old
// member's last insert may land after them.
func TestRebalanceWithOtherBoundaries(t *testing.T) {
	w := open(t)
	old := part(t, 0, 0, numbered("a", "x", 1, "first"), numbered("a", "x", 2, "second"), numbered("b", "x", 1, "first"))
	fresh := part(t, 0, 1, numbered("a", "x", 2, "second"), numbered("b", "x", 1, "first"), numbered("a", "x", 3, "third"), numbered("b", "x", 2, "second"))
	write(t, w, "canonical.order", part(t, 0, 0, numbered("a", "x", 1, "first")))
	write(t, w, "canonical.order", fresh)
	write(t, w, "canonical.order", old)
	wants(t, w, "native_id, number, version", "orders ORDER BY native_id", "a|third|3", "b|second|2")
	got, err := w.Resume(t.Context(), "canonical.order", []int32{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int32]change.Settled{0: {Next: 5}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestOlderVersionDoesNotWin(t *testing.T) {
	w := open(t)
	gone := order("a", "x", 3)
	gone.Deleted = true
	write(t, w, "canonical.order", part(t, 0, 2, gone))
	write(t, w, "canonical.order", part(t, 0, 0, numbered("a", "x", 1, "first"), numbered("a", "x", 2, "second")))
	wants(t, w, "count()", "orders", "0")
	if err := w.conn.Exec(t.Context(), "OPTIMIZE TABLE "+w.opts.Database+".canonical_order FINAL"); err != nil {
		t.Fatal(err)
	}
	wants(t, w, "count()", "orders", "0")
	write(t, w, "canonical.order", part(t, 0, 3, numbered("a", "x", 4, "back")))
	wants(t, w, "number", "orders", "back")
}

// A merge must not make Resume forget, nor a deletion come back.
func TestResumeAfterMerge(t *testing.T) {
	w := open(t)
	for i := range int64(5) {
		write(t, w, "canonical.order", part(t, 2, i*10, order("a", "x", i+1), order("b", "x", i+1)))
	}
	if err := w.conn.Exec(t.Context(), "OPTIMIZE TABLE "+w.opts.Database+".canonical_order FINAL"); err != nil {
		t.Fatal(err)
	}
	wants(t, w, "count()", rawOrders, "2")
	got, err := w.Resume(t.Context(), "canonical.order", []int32{0, 1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int32]change.Settled{2: {Next: 42}}, got); diff != "" {
		t.Error(diff)
	}
}

// A range ends where its batch ended, also behind the last record: transaction
// markers and records compacted away are settled too.
func TestResumeBehindMarkers(t *testing.T) {
	w := open(t)
	p := part(t, 0, 100, order("a", "x", 1))
	p.First, p.Last = 90, 120
	empty := change.Part{Partition: 1, First: 0, Last: 9}
	write(t, w, "canonical.order", p, empty)
	write(t, w, "canonical.order", empty)
	write(t, w, "canonical.order")
	got, err := w.Resume(t.Context(), "canonical.order", []int32{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int32]change.Settled{0: {Next: 121}}, got); diff != "" {
		t.Error(diff)
	}
	wants(t, w, "_topic, _partition, _first, _last, _offset", rawOrders, "canonical.order|0|90|120|100")
}

// The range of offsets says which topic it is of; rows from before that was
// recorded do not count against it.
func TestResumeNamesTheTopicsId(t *testing.T) {
	w := open(t)
	write(t, w, "canonical.order", part(t, 0, 0, order("a", "x", 1)), part(t, 1, 0, order("b", "y", 1)))
	id := [16]byte{1, 2, 3, 0xff}
	if err := w.Write(t.Context(), change.Batch{Topic: "canonical.order", TopicID: id, Parts: []change.Part{part(t, 0, 1, order("c", "x", 1))}}); err != nil {
		t.Fatal(err)
	}
	got, err := w.Resume(t.Context(), "canonical.order", []int32{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int32]change.Settled{0: {Next: 2, TopicID: id}, 1: {Next: 1}}, got); diff != "" {
		t.Error(diff)
	}
	wants(t, w, "native_id, _topic_id", rawOrders+" ORDER BY native_id", "a|", "b|", "c|AQID_wAAAAAAAAAAAAAAAA")
	if err := w.conn.Exec(t.Context(), "INSERT INTO "+w.opts.Database+".canonical_order (entity_id, version, _topic, _topic_id, _partition, _first, _last, _offset) VALUES ('e', 1, 'canonical.order', 'by hand', 0, 9, 9, 9)"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Resume(t.Context(), "canonical.order", []int32{0}); err == nil || !strings.Contains(err.Error(), "by hand") {
		t.Errorf("a foreign id: %v", err)
	}
}

// proxy stands between sink and server and can be told what to do with inserts.
type proxy struct {
	*httptest.Server
	insert atomic.Pointer[func(w http.ResponseWriter, forward func() *http.Response)]
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	target, err := url.Parse("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{}
	plain := httputil.NewSingleHostReverseProxy(target)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		do := p.insert.Load()
		if do == nil || !strings.HasPrefix(r.URL.Query().Get("query"), "INSERT") {
			plain.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		(*do)(w, func() *http.Response {
			out := r.Clone(context.WithoutCancel(r.Context()))
			out.RequestURI, out.URL.Scheme, out.URL.Host = "", "http", address
			out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			out.TransferEncoding = nil
			res, err := http.DefaultTransport.RoundTrip(out)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			return res
		})
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) host() string { return strings.TrimPrefix(p.URL, "http://") }

func (p *proxy) onInsert(do func(w http.ResponseWriter, forward func() *http.Response)) {
	if do == nil {
		p.insert.Store(nil)
		return
	}
	p.insert.Store(&do)
}

func retryable(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if err == nil || !errors.As(err, &e) || e.Permanent() || errors.Is(err, ErrPermanent) {
		t.Fatalf("want an error worth another try, got %v", err)
	}
}

// lost wants an error after which the sink begins anew.
func lost(t *testing.T, err error, words ...string) {
	t.Helper()
	if retryable(t, err); !errors.Is(err, change.ErrTargetLost) {
		t.Fatalf("want an error of a lost table, got %v", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the message must name %q: %v", w, err)
		}
	}
}

func permanent(t *testing.T, err error, words ...string) {
	t.Helper()
	var e *Error
	if err == nil || !errors.As(err, &e) || !e.Permanent() || !errors.Is(err, ErrPermanent) {
		t.Fatalf("want a permanent error, got %v", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the message must name %q: %v", w, err)
		}
	}
}

func TestReplyLost(t *testing.T) {
	p := newProxy(t)
	w := open(t, func(o *Options) { o.Addresses = []string{p.host()} })
	stopMerges(t, w, rawOrders)
	b := batch("canonical.order", part(t, 0, 10, order("a", "x", 1), order("b", "x", 1)))
	var inserted atomic.Int32
	p.onInsert(func(_ http.ResponseWriter, forward func() *http.Response) {
		res := forward()
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode == http.StatusOK {
			inserted.Add(1)
		}
		panic(http.ErrAbortHandler) // the connection breaks before the answer
	})
	retryable(t, w.Write(t.Context(), b))
	if inserted.Load() == 0 {
		t.Fatal("the insert did not get through, so nothing is tested")
	}
	p.onInsert(nil)
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	wants(t, w, "count()", rawOrders, "2")

	// And the same where the process is started anew instead of trying again.
	p.onInsert(func(_ http.ResponseWriter, forward func() *http.Response) {
		_ = forward().Body.Close()
		panic(http.ErrAbortHandler)
	})
	retryable(t, w.Write(t.Context(), batch("canonical.order", part(t, 0, 12, order("c", "x", 1)))))
	p.onInsert(nil)
	got, err := w.Resume(t.Context(), "canonical.order", []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Next != 13 {
		t.Errorf("resume at %d, want 13: the table knows what the writer does not", got[0])
	}
}

// An insert that breaks off half way leaves nothing.
func TestBrokenOffInsert(t *testing.T) {
	p := newProxy(t)
	w := open(t, func(o *Options) { o.Addresses = []string{p.host()} })
	p.onInsert(func(http.ResponseWriter, func() *http.Response) { panic(http.ErrAbortHandler) })
	b := batch("canonical.order", part(t, 0, 10, order("a", "x", 1)))
	retryable(t, w.Write(t.Context(), b))
	p.onInsert(nil)
	wants(t, w, "count()", rawOrders, "0")
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	wants(t, w, "count()", rawOrders, "1")
}

func TestAnswersWorthAnotherTry(t *testing.T) {
	p := newProxy(t)
	w := open(t, func(o *Options) { o.Addresses = []string{p.host()} })
	b := batch("canonical.order", part(t, 0, 10, order("a", "x", 1)))
	answer := func(status int, code, body string) {
		p.onInsert(func(w http.ResponseWriter, _ func() *http.Response) {
			if code != "" {
				w.Header().Set("X-ClickHouse-Exception-Code", code)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	for _, c := range []struct {
		status     int
		code, body string
		permanent  bool
	}{
		{502, "", "<html>bad gateway</html>", false},
		{503, "", "", false},
		{429, "", "slow down", false},
		{500, "252", "Code: 252. DB::Exception: Too many parts (3001). (TOO_MANY_PARTS)", false},
		{500, "241", "Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)", false},
		{500, "242", "Code: 242. DB::Exception: Table is in readonly mode. (TABLE_IS_READ_ONLY)", false},
		{500, "9999", "Code: 9999. DB::Exception: Something new. (NEW)", false},
		{404, "60", "Code: 60. DB::Exception: Table does not exist. (UNKNOWN_TABLE)", false},
		{404, "81", "Code: 81. DB::Exception: Database does not exist. (UNKNOWN_DATABASE)", true},
		{403, "516", "Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)", true},
		{500, "497", "Code: 497. DB::Exception: Not enough privileges. (ACCESS_DENIED)", true},
		{502, "", "Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)", true},
		{404, "", "Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)", false},
		{403, "159", "Code: 159. DB::Exception: Timeout exceeded. (TIMEOUT_EXCEEDED)", false},
		// Without an exception the status is a proxy's.
		{401, "", "who are you", false},
		{403, "", "not today", false},
		{404, "", "default backend - 404", false},
	} {
		answer(c.status, c.code, c.body)
		err := w.Write(t.Context(), b)
		if c.permanent {
			permanent(t, err, "canonical_order", "partition 0 offsets 10 to 10", "; ")
		} else {
			retryable(t, err)
		}
	}
	p.onInsert(nil)
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

func TestOutage(t *testing.T) {
	p := newProxy(t)
	w := open(t, func(o *Options) { o.Addresses = []string{p.host()} })
	write(t, w, "canonical.order", part(t, 0, 0, order("a", "x", 1)))
	p.CloseClientConnections()
	if err := p.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	b := batch("canonical.order", part(t, 0, 1, order("b", "x", 1)))
	p.CloseClientConnections()
	for range 3 {
		retryable(t, w.Write(t.Context(), b))
	}
	_, err := w.Resume(t.Context(), "canonical.order", []int32{0})
	retryable(t, err)

	back := open(t, func(o *Options) { o.Database = w.opts.Database })
	if err := back.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	wants(t, back, "native_id", "orders ORDER BY native_id", "a", "b")
}

func TestCancelled(t *testing.T) {
	w := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := w.Write(ctx, batch("canonical.order", part(t, 0, 0, order("a", "x", 1))))
	retryable(t, err)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("want the context's error inside, got %v", err)
	}
}

// One topic that hangs must not hold up another.
func TestTopicsDoNotWaitForEachOther(t *testing.T) {
	p := newProxy(t)
	w := open(t, func(o *Options) { o.Addresses = []string{p.host()} })
	entered, leave := make(chan struct{}), make(chan struct{})
	var inserts atomic.Int32
	p.onInsert(func(rw http.ResponseWriter, forward func() *http.Response) {
		if inserts.Add(1) == 1 {
			close(entered)
			<-leave
		}
		res := forward()
		rw.WriteHeader(res.StatusCode)
		_, _ = io.Copy(rw, res.Body)
		_ = res.Body.Close()
	})
	done := make(chan error, 1)
	go func() { done <- w.Write(t.Context(), batch("canonical.order", part(t, 0, 0, order("a", "x", 1)))) }()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := w.Write(ctx, batch("syncline.feeds", part(t, 0, 0, &canonical.FeedRecord{Topic: "t", Hop: "intake", Version: 1}))); err != nil {
		t.Errorf("another topic waits: %v", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestBigBatchIsCut(t *testing.T) {
	w := open(t, func(o *Options) { o.MaxRows = 300 })
	stopMerges(t, w, rawOrders)
	var recs []any
	for i := range 1000 {
		recs = append(recs, order(fmt.Sprintf("o%04d", i), "x", 1))
	}
	p, q := part(t, 0, 5000, recs...), part(t, 1, 7, order("last", "x", 1))
	write(t, w, "canonical.order", q, p)
	write(t, w, "canonical.order", p, q)
	wants(t, w, "count(), uniqExact(_part)", rawOrders, "1001|4")
	wants(t, w, "_partition, _first, _last, count()", rawOrders+" GROUP BY _partition, _first, _last ORDER BY _partition, _first",
		"0|5000|5299|300", "0|5300|5599|300", "0|5600|5899|300", "0|5900|5999|100", "1|7|7|1")
}

// A crash between two pieces leaves a range that Resume can go on from.
func TestCrashBetweenPieces(t *testing.T) {
	p := newProxy(t)
	w := open(t, func(o *Options) { o.Addresses, o.MaxRows = []string{p.host()}, 2 })
	var inserts atomic.Int32
	p.onInsert(func(rw http.ResponseWriter, forward func() *http.Response) {
		if inserts.Add(1) > 1 {
			panic(http.ErrAbortHandler)
		}
		res := forward()
		rw.WriteHeader(res.StatusCode)
		_ = res.Body.Close()
	})
	whole := part(t, 0, 10, order("a", "x", 1), order("b", "x", 1), order("c", "x", 1))
	whole.Last = 20
	retryable(t, w.Write(t.Context(), batch("canonical.order", whole)))
	p.onInsert(nil)
	got, err := w.Resume(t.Context(), "canonical.order", []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Next != 12 {
		t.Fatalf("resume at %d, want 12", got[0])
	}
	rest := part(t, 0, 12, order("c", "x", 1), order("d", "x", 1))
	write(t, w, "canonical.order", rest)
	wants(t, w, "native_id, _first, _last", rawOrders+" ORDER BY native_id", "a|10|11", "b|10|11", "c|12|13", "d|12|13")
}
