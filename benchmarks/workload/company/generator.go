// Package company simulates a company that sells subscriptions: a CRM, a
// subscription system and an ERP, each with tables, names, ids, states and
// encodings of its own, and Debezium in front of them. Nothing of it is Tryton's.
//
// A [Generator] plays the business from a seed and hands over Kafka records one
// by one. It knows what every view must show after them ([Generator.Truth]),
// from its own model of the business and not from its records.
//
// Time is the stream's own: it starts at a fixed instant and leaps from event to
// event. What is open is in memory, and what the truth needs.
package company

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"syncline/benchmarks/workload"
)

// Generator makes the records of one simulated company. It is not safe for
// concurrent use.
type Generator struct {
	config  Config
	rates   Business
	rng     *rand.Rand
	zipf    *rand.Zipf
	systems [3]*system
	tables  []*table
	t       tables
	schemas []workload.Schema
	ids     []int

	now, start int64 // microseconds since 1970
	tx         *system
	events     eventHeap
	eventSeq   uint64
	transport  *transport
	holdNext   bool
	held       *parcel // the next image of its row goes first
	snapshots  []snapshotRow
	stopped    bool
	started    bool

	customers []*customer // by place in the Zipf order
	stride    int
	opened    int // deals
	created   int // customers
	lastBills []*bill
	billNo    int64
	products  [3][]*product

	err     error // a mistake of the simulation
	cases   [caseCount]int64
	records int64
}

// New prepares a company. Records come from Next.
func New(config Config) (*Generator, error) {
	c, err := config.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("setting up the simulated company: %w", err)
	}
	g := &Generator{config: c, rates: *c.Business, rng: rand.New(rand.NewPCG(c.Seed, 0x636f6d70616e79)), start: c.Start.UnixMicro()}
	g.zipf = rand.NewZipf(g.rng, 1.1, 1, uint64(c.Accounts-1))
	g.defineTables()
	if err := g.buildSchemas(); err != nil {
		return nil, err
	}
	g.ids = make([]int, len(g.schemas))
	for i := range g.ids {
		g.ids[i] = i + 1
	}
	g.transport = newTransport(*c.Transport, c.Seed, len(g.tables))
	g.customers = make([]*customer, c.Accounts)
	g.stride = coprime(c.Accounts)
	g.begin()
	return g, nil
}

// Schemas returns what has to be registered, in order: a subject's schemas in
// the order of their versions. The last ones appear in mid-stream.
func (g *Generator) Schemas() []workload.Schema { return slices.Clone(g.schemas) }

// Register registers the schemas and takes their ids. Without it, before the
// first Next, the ids are 1, 2, 3, … in the order of Schemas.
func (g *Generator) Register(ctx context.Context, reg workload.Registrar) error {
	if g.started {
		return errors.New("schemas must be registered before the first record is made")
	}
	for i, s := range g.schemas {
		id, err := reg.Register(ctx, s.Subject, s.Text)
		if err != nil {
			return fmt.Errorf("registering %s: %w", s.Subject, err)
		}
		g.ids[i] = id
	}
	return nil
}

// Topics returns the topics in a fixed order.
func (g *Generator) Topics() []string {
	out := make([]string, len(g.tables))
	for i, t := range g.tables {
		out[i] = t.topic
	}
	return out
}

// Next returns the next record; false when all have been made. The caller may
// keep the bytes but must not change them.
func (g *Generator) Next() (workload.Record, bool) {
	g.started = true
	for {
		now := g.now
		if g.err != nil {
			return workload.Record{}, false
		}
		if g.stopped || len(g.events) == 0 && len(g.snapshots) == 0 {
			now = 1<<63 - 1
		}
		if r, ok := g.transport.next(g, now); ok {
			g.records++
			return r, true
		}
		if now == 1<<63-1 {
			return workload.Record{}, false
		}
		g.step()
	}
}

// Stop ends the business where it is: Next hands over what is on its way and
// then ends, and Truth speaks of that.
func (g *Generator) Stop() {
	g.stopped = true
	for len(g.snapshots) > 0 {
		g.step()
	}
}

// Now is the stream's time.
func (g *Generator) Now() time.Time { return time.UnixMicro(g.now).UTC() }

// Records is the number of records that Next has returned.
func (g *Generator) Records() int64 { return g.records }

// Write creates the topics and produces all records. It ends early, as by Stop,
// once the context of until (if not nil) is done.
func (g *Generator) Write(ctx context.Context, until context.Context, to workload.Producer) (int64, error) {
	if err := to.CreateTopics(ctx, g.Topics(), workload.Partitions); err != nil {
		return 0, fmt.Errorf("creating topics: %w", err)
	}
	for {
		if until != nil && until.Err() != nil && !g.stopped {
			g.Stop()
		}
		r, ok := g.Next()
		if !ok {
			break
		}
		if err := to.Produce(ctx, r); err != nil {
			return g.records, fmt.Errorf("producing to %s: %w", r.Topic, err)
		}
	}
	if err := to.Flush(ctx); err != nil {
		return g.records, fmt.Errorf("waiting for the last records: %w", err)
	}
	return g.records, g.err
}

// event is something that the business does at a time.
type event struct {
	at  int64
	seq uint64
	do  func()
}

type eventHeap []event

func (h eventHeap) less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}

func (g *Generator) at(t int64, do func()) {
	g.eventSeq++
	g.events = append(g.events, event{t, g.eventSeq, do})
	h := g.events
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.less(i, up) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

// after schedules for a random time around the mean from now.
func (g *Generator) after(mean time.Duration, do func()) {
	wait := g.rng.ExpFloat64()
	if wait > 6 {
		wait = 6
	}
	g.at(g.now+1000+int64(wait*float64(mean/time.Microsecond)), do)
}

func (g *Generator) step() {
	if len(g.snapshots) > 0 {
		g.writeSnapshotRow()
		return
	}
	h := g.events
	e := h[0]
	n := len(h) - 1
	h[0] = h[n]
	h[n] = event{}
	h = h[:n]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < n; c++ {
			if h.less(c, least) {
				least = c
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	g.events = h
	g.now = max(g.now+1, e.at)
	e.do()
}

func (g *Generator) chance(p float64) bool { return p > 0 && g.rng.Float64() < p }

// coprime returns a stride that visits all n places.
func coprime(n int) int {
	gcd := func(a, b int) int {
		for b != 0 {
			a, b = b, a%b
		}
		return a
	}
	s := n*61/100 | 1
	for gcd(s, n) != 1 {
		s += 2
	}
	return s
}
