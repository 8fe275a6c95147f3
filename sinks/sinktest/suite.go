// Package sinktest is the suite that every writer passes: what goes wrong between
// a caller and a system of record, one case each. What reached the target is
// counted there, and what the writer says is compared with the target's books.
//
// The clock is virtual, and nothing waits. A target that cannot be made to show
// a case says why, see [Target].
package sinktest

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"syncline/sinks"
	"syncline/sinks/sinktest/fake"
)

// Target is a kind of target under test.
type Target struct {
	Kinds Kinds
	// Open starts a fresh one. Close ends it.
	Open func(n fake.Nature, clock *Clock) (Site, error)
	// Unable names the rows that the target cannot show by its nature, each with
	// the reason. They are skipped with it.
	Unable map[string]string
}

// Kinds are the names of the commands that the rows use; a row whose kind is
// empty has to be among Unable.
type Kinds struct {
	Customer string // values code, name, parent
	Import   string // a batch of these
	Rename   string // values name
	Document string // values code, party, currency, lines, post
	Activate string
	Reverse  string // values of
	End      string
	Note     string // values line
}

// Site is a target that is running.
type Site interface {
	// Writer returns a new one, as a new process has it.
	Writer() sinks.Writer
	Misbehave(on fake.On, f ...fake.Fault)
	// Holding receives for each call that gets no (further) answer.
	Holding() <-chan struct{}
	Counts() fake.Counts
	Records(sort string) []fake.Record
	// Plant and Edit are what people do at their keyboards.
	Plant(r fake.Record) string
	Edit(id string, change func(*fake.Record)) error
	// Become lets another organisation answer, Identity says which does.
	Become(identity string)
	Identity() string
	// Expire ends the login: the access token, or everything. Login is what a
	// person does then.
	Expire(everything bool)
	Login() error
	Close()
}

// Row is a case of the suite.
type Row struct {
	Name string
	run  func(*trial)
}

// Rows returns all cases.
func Rows() []Row {
	return slices.Concat(replyRows(), keyRows(), lookRows(), recordRows(), targetRows())
}

// Run lets a target pass all rows.
func Run(t *testing.T, target Target) {
	t.Helper()
	for name := range target.Unable {
		if !slices.ContainsFunc(Rows(), func(r Row) bool { return r.Name == name }) {
			t.Errorf("there is no row %s", name)
		}
	}
	for _, r := range Rows() {
		t.Run(r.Name, func(t *testing.T) {
			if why := target.Unable[r.Name]; why != "" {
				t.Skip("not to be seen here: " + why)
			}
			for _, f := range Failures(target, r) {
				t.Error(f)
			}
		})
	}
}

// Failures runs one row and returns what is wrong.
func Failures(target Target, r Row) []string {
	tr := &trial{target: target}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer tr.close()
		defer func() {
			if broken := recover(); broken != nil { // a writer so wrong that a row finds nothing to compare
				tr.fail("the row broke off: %v", broken)
			}
		}()
		r.run(tr)
	}()
	<-done
	return tr.failures
}

// trial is one run of a row; open begins it anew at a fresh target.
type trial struct {
	target   Target
	site     Site
	clock    *Clock
	d        *driver
	failures []string
	about    string // the variant
}

func (t *trial) close() {
	if t.site != nil {
		t.site.Close()
		t.site = nil
	}
}

// open starts a fresh target.
func (t *trial) open(about string, n fake.Nature) {
	t.close()
	t.about = about
	if n.Limit == 0 {
		n.Limit = 30 * time.Second
	}
	t.clock = NewClock()
	site, err := t.target.Open(n, t.clock)
	if err != nil {
		t.fail("the target does not start: %v", err)
		runtime.Goexit()
	}
	t.site = site
	t.d = &driver{site: site, clock: t.clock, w: site.Writer()}
}

func (t *trial) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if t.about != "" {
		text = t.about + ": " + text
	}
	t.failures = append(t.failures, text)
}

// run takes a command as far as it goes and holds its end against the books.
func (t *trial) run(p *sinks.Progress) {
	if err := t.d.run(p); err != nil {
		t.fail("%v", err)
		return
	}
	t.agrees(p)
}

// agrees: what a final outcome says of a record is what the books say.
func (t *trial) agrees(p *sinks.Progress) {
	if p.Final == nil || !p.Final.Effective() || len(p.Command.Elements) > 0 {
		return
	}
	for _, r := range slices.Concat(t.site.Records(fake.Customer), t.site.Records(fake.Document)) {
		if r.ID != p.Final.ID {
			continue
		}
		if p.Command.NativeID == "" && p.Final.Class == sinks.ClassOK && (r.Key != p.Command.ID || !r.Live) {
			t.fail("the outcome names record %s, which bears the key %q (live: %v), not %q", r.ID, r.Key, r.Live, p.Command.ID)
		}
		return
	}
	t.fail("the outcome names record %q, which is not in the books", p.Final.ID)
}

// ends: the command has ended so, without a question.
func (t *trial) ends(p *sinks.Progress, classes ...sinks.Class) {
	if p.Final == nil || !slices.Contains(classes, p.Final.Class) || p.Question != "" {
		t.fail("ended as %+v with the question %q after %+v, want %v", p.Final, p.Question, p.Last, classes)
	}
}

// asks: the lane is parked with this question.
func (t *trial) asks(p *sinks.Progress, question string) {
	if p.Final != nil || p.Question != question {
		t.fail("ended as %+v with the question %q after %+v, want the question %q", p.Final, p.Question, p.Last, question)
	}
}

// counts: so many requests and effects.
func (t *trial) counts(requests, effects int) {
	if c := t.site.Counts(); c.Requests != requests || c.Effects != effects {
		t.fail("%d requests, %d effects; want %d, %d", c.Requests, c.Effects, requests, effects)
	}
}

// equal compares anything else.
func equal[T comparable](t *trial, what string, got, want T) {
	if got != want {
		t.fail("%s: %v, want %v", what, got, want)
	}
}

// --- commands

func (t *trial) wish(kind, lane string) sinks.Wish {
	return sinks.Wish{Target: t.site.Identity(), Kind: kind, Lane: lane}
}

func (t *trial) customer(code, name string) *sinks.Progress {
	lane := "account/" + code
	return &sinks.Progress{Command: sinks.Command{
		ID: t.wish(t.target.Kinds.Customer, lane).Create(""), Kind: t.target.Kinds.Customer, Lane: lane,
		Values: sinks.Values{"code": code, "name": name},
	}}
}

// change is a change of a record that bears a key.
func (t *trial) change(kind, id, bears string, v sinks.Values, base string) *sinks.Progress {
	command, err := t.wish(kind, "record/"+id).Change(v, base)
	if err != nil {
		t.fail("%v", err)
	}
	return &sinks.Progress{Command: sinks.Command{ID: command, Kind: kind, Lane: "record/" + id, NativeID: id, Bears: bears, Values: v}}
}

// document is one of three lines, for order SO-1, that is posted.
func (t *trial) document() *sinks.Progress {
	const number = "SO-1"
	line := func(product, quantity, price string) any {
		return map[string]any{"product": product, "quantity": quantity, "unit_price": price}
	}
	lane := "order/" + number
	return &sinks.Progress{Command: sinks.Command{
		ID: t.wish(t.target.Kinds.Document, lane).Create(""), Kind: t.target.Kinds.Document, Lane: lane,
		Values: sinks.Values{
			"code": number, "party": "1", "currency": "EUR", "post": true,
			"lines": []any{line("SEAT-S", "3", "9.50"), line("CARE", "1", "30"), line("SEAT-S", "2", "1.50")},
		},
	}}
}
