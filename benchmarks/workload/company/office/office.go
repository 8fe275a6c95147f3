// Package office is the practice company at its desks: its CRM, subscription
// system and ERP as HTTP services on this machine, with books of their own, which
// do what they are told and misbehave as they are told.
//
// Every system speaks the same small language under a path of its own; only the
// words differ. Time is the caller's: nothing here looks at a clock of the
// machine.
package office

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"syncline/sinks/sinktest/fake"
)

// The systems, which are also the first part of every path.
const (
	CRM = "crm"
	Sub = "sub"
	ERP = "erp"
)

// words are what a system calls its things. A system without documents of its
// own has an empty name there.
type words struct {
	customers, documents          string
	draft, active, ended, archive string
	activate, end                 string
}

var systems = map[string]words{
	CRM: {customers: "customers", documents: "orders", draft: "open", active: "confirmed", ended: "cancelled", archive: "archived", activate: "confirm", end: "cancel"},
	Sub: {customers: "subscribers", documents: "contracts", draft: "pending", active: "live", ended: "terminated", archive: "closed", activate: "activate", end: "terminate"},
	ERP: {customers: "debtors", documents: "bills", draft: "draft", active: "issued", ended: "void", archive: "blocked", activate: "issue", end: "void"},
}

// Office is one system of the company that listens. It is safe for concurrent use.
type Office struct {
	system  string
	words   words
	nature  fake.Nature
	now     func() time.Time
	server  *httptest.Server
	other   *httptest.Server // where redirects lead
	holding chan struct{}

	mu       sync.Mutex
	identity string
	records  []*row
	lastID   int
	pending  []pending
	faults   map[fake.On][]fake.Fault
	counts   fake.Counts
	keys     map[string]*stored
	seenKeys map[string]bool
	access   string
	refresh  string
	tokens   int
}

// row is a record with what its system knows besides.
type row struct {
	fake.Record
	shown   fake.Record // as lists show it while they lag
	shownAt time.Time   // since when they show the record as it is
	born    time.Time   // since when lists show it at all
}

// pending is an effect that falls later.
type pending struct {
	at time.Time
	do func()
}

// Start opens a system of the company on 127.0.0.1.
func Start(system string, nature fake.Nature, now func() time.Time) (*Office, error) {
	w, ok := systems[system]
	if !ok {
		return nil, fmt.Errorf("system %q: want %s, %s or %s", system, CRM, Sub, ERP)
	}
	o := &Office{
		system: system, words: w, nature: nature, now: now, holding: make(chan struct{}, 1024),
		identity: "company-" + system + "/live", lastID: 16,
		faults: map[fake.On][]fake.Fault{}, keys: map[string]*stored{}, seenKeys: map[string]bool{},
		access: "access-1", refresh: "refresh-1", tokens: 1,
	}
	o.server = httptest.NewServer(o)
	o.other = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.counts.Elsewhere++
	}))
	return o, nil
}

// Close ends it; calls that it holds are given up.
func (o *Office) Close() {
	o.server.CloseClientConnections()
	o.server.Close()
	o.other.Close()
}

// Address is where it listens, with the system's path.
func (o *Office) Address() string { return o.server.URL + "/" + o.system }

// Holding receives once for every call that will get no (further) answer until
// its caller gives up.
func (o *Office) Holding() <-chan struct{} { return o.holding }

// Misbehave lines up faults, one for each of the next calls.
func (o *Office) Misbehave(on fake.On, f ...fake.Fault) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.faults[on] = append(o.faults[on], f...)
}

// Counts tells what reached it, what fell due included.
func (o *Office) Counts() fake.Counts {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.catchUp()
	c := o.counts
	c.Keys = len(o.seenKeys)
	c.LookedAt = slices.Clone(c.LookedAt)
	return c
}

// Records are the books of a sort, in order of creation.
func (o *Office) Records(sort string) []fake.Record {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.catchUp()
	var out []fake.Record
	for _, r := range o.records {
		if r.Sort == sort {
			c := r.Record
			c.Lines = slices.Clone(c.Lines)
			out = append(out, c)
		}
	}
	return out
}

// Plant puts a record into the books past the service, as a person at the
// keyboard does; it is no effect of a call. An empty ID gets the next one.
func (o *Office) Plant(r fake.Record) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.catchUp()
	if r.ID == "" {
		r.ID = o.nextID()
	}
	r.Version = max(r.Version, 1)
	o.records = append(o.records, &row{Record: r, shown: r})
	return r.ID
}

// Edit lets a person change a record.
func (o *Office) Edit(id string, change func(*fake.Record)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.catchUp()
	r := o.byID(id)
	if r == nil {
		return fmt.Errorf("no record %s", id)
	}
	o.touch(r, func() { change(&r.Record) })
	return nil
}

// Become lets another organisation answer at the address. The former one's
// records stay what they are.
func (o *Office) Become(identity string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.identity = identity
}

// Identity is who answers now.
func (o *Office) Identity() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.identity
}

// Expire ends the access token; with everything, also what renews it. It returns
// the tokens that a person would get for the next login.
func (o *Office) Expire(everything bool) (access, refresh string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rotate()
	access, refresh = o.access, o.refresh
	if !everything {
		o.refresh = fmt.Sprintf("refresh-%d", o.tokens-1) // the one that is out still works
		o.access = "none"
	}
	return access, refresh
}

func (o *Office) rotate() {
	o.tokens++
	o.access, o.refresh = fmt.Sprintf("access-%d", o.tokens), fmt.Sprintf("refresh-%d", o.tokens)
}

// catchUp lets effects fall that were late and are due.
func (o *Office) catchUp() {
	now := o.now()
	slices.SortStableFunc(o.pending, func(a, b pending) int { return a.at.Compare(b.at) })
	for len(o.pending) > 0 && !o.pending[0].at.After(now) {
		next := o.pending[0]
		o.pending = o.pending[1:]
		next.do()
	}
}

// answer is what goes back.
type answer struct {
	status int
	header map[string]string
	body   any
}

func (a answer) with(name, value string) answer {
	header := map[string]string{name: value}
	maps.Copy(header, a.header)
	a.header = header
	return a
}

func refusal(status int, code, words string) answer {
	return answer{status: status, body: map[string]any{"error": map[string]any{"code": code, "message": words}}}
}

const mostBody = 8 << 20

// ServeHTTP is the service.
func (o *Office) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, mostBody+1))
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if err != nil || len(body) > mostBody || path[0] != o.system || len(path) < 2 {
		send(w, refusal(http.StatusNotFound, "no_such_path", "nothing is at "+r.URL.Path))
		return
	}
	path = path[1:]
	o.mu.Lock()
	o.catchUp()
	var a answer
	var f *fake.Fault
	switch {
	case path[0] == "organisation":
		o.counts.Identities++
		a = answer{status: http.StatusOK, body: map[string]any{"organisation": o.identity}}
	case path[0] == "token":
		a = o.renew(body)
	case !o.loggedIn(r):
		o.count(r)
		a = refusal(http.StatusUnauthorized, "login", "the token is not valid")
	case r.Method == http.MethodGet:
		o.count(r)
		f = o.nextFault(fake.Looks)
		a = o.look(path, r.URL.Query())
	default:
		o.count(r)
		f = o.nextFault(fake.Writes)
		a = o.write(r, path, body, f)
	}
	o.mu.Unlock()
	if f == nil {
		send(w, a)
		return
	}
	o.misanswer(w, r, *f, a)
}

func (o *Office) count(r *http.Request) {
	if r.Method == http.MethodGet {
		o.counts.Looks++
		o.counts.LookedAt = append(o.counts.LookedAt, o.now())
		return
	}
	o.counts.Requests++
	if k := r.Header.Get("Idempotency-Key"); k != "" {
		o.seenKeys[k] = true
	}
}

func (o *Office) loggedIn(r *http.Request) bool {
	return !o.nature.Rotates || r.Header.Get("Authorization") == "Bearer "+o.access
}

// renew gives the next pair of tokens for one that was not used yet. What it says
// otherwise, it says with 200, as some do.
func (o *Office) renew(body []byte) answer {
	o.counts.Renewals++
	var with struct {
		Refresh string `json:"refresh"`
	}
	if json.Unmarshal(body, &with) != nil || with.Refresh != o.refresh {
		return answer{status: http.StatusOK, body: map[string]any{"error": "invalid_grant"}}
	}
	o.rotate()
	return answer{status: http.StatusOK, body: map[string]any{"access": o.access, "refresh": o.refresh}}
}

func (o *Office) nextFault(on fake.On) *fake.Fault {
	line := o.faults[on]
	if len(line) == 0 {
		return nil
	}
	f := line[0]
	o.faults[on] = line[1:]
	if f.Kind == "" { // a call that goes well
		return nil
	}
	return &f
}

func send(w http.ResponseWriter, a answer) {
	b, err := json.Marshal(a.body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(b) // the caller may be gone
}

var errNoHijack = errors.New("the server cannot break its connections")

// cut breaks the connection.
func cut(w http.ResponseWriter) error {
	h, ok := w.(http.Hijacker)
	if !ok {
		return errNoHijack
	}
	conn, _, err := h.Hijack()
	if err != nil {
		return err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return conn.Close()
}
