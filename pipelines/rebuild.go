package pipelines

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"syncline/pipelines/run"
	"syncline/processors/account"
	"syncline/processors/letters"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// The kinds of instructions by which a rebuild goes on, after run.KindRebuild.
// The body of each is the generation's number.
const (
	kindSeeded   = "rebuild.seeded"   // the old generation has ended, the new one knows what it published
	kindRelease  = "rebuild.release"  // the sources are caught up with: publish what differs
	kindDone     = "rebuild.done"     // one account task has published
	kindFinished = "rebuild.finished" // the old generation is deleted
)

// Generation is how far the rebuilds of a set of pipelines are.
type Generation struct {
	Number   int    // of the last one begun; 1 before any rebuild
	Begun    string // id of the instruction that began it
	Seeded   bool   // its processes may run
	Released bool
	Done     int             // account tasks that have published
	Letters  map[int32]int64 // where the letters ended when it was seeded, by partition
	Finished bool            // nothing of it is left to do
}

// rebuildHop is named by what is for those who carry out a rebuild, and for no
// task.
const rebuildHop = "rebuild"

// Forgotten is the instruction that says that all which a generation had is
// deleted, what it has published too.
func (g Generation) Forgotten(who string) run.Instruction {
	return run.Instruction{Kind: run.KindForgotten, Hop: rebuildHop, Who: who, Body: []byte(strconv.Itoa(g.Number))}
}

// GenerationIn reads it from all instructions.
func GenerationIn(all []run.Instruction) Generation {
	g := Generation{Number: 1, Seeded: true, Released: true, Finished: true}
	for i := range all {
		in := &all[i]
		n := run.GenerationOf(in)
		switch {
		case in.Kind == run.KindRebuild && n > g.Number:
			g = Generation{Number: n, Begun: in.ID}
		case n != g.Number:
		case in.Kind == run.KindForgotten:
			g = Generation{Number: n, Seeded: true, Released: true, Finished: true}
		case in.Kind == kindSeeded:
			g.Seeded, g.Letters = true, in.At
		case in.Kind == kindRelease:
			g.Released = true
		case in.Kind == kindDone:
			g.Done++
		case in.Kind == kindFinished:
			g.Finished = true
		}
	}
	return g
}

// Rebuild computes everything anew from the first offsets of the sources, and
// publishes what differs from what is published, with versions that go on. The
// pipelines' processes do the work; this tells them what to do next, and can be
// called again after it was cut off anywhere.
type Rebuild struct {
	Engine     run.Config // with the topic of instructions
	Names      Names      // of any generation
	Sources    []string   // topics
	Partitions int32
	Schemas    Schemas
	Who, Why   string
	Complete   []string // source topics that hold a full snapshot, though they begin above offset 0
	Say        func(format string, args ...any)
}

// RebuildPlan is what a rebuild would do.
type RebuildPlan struct {
	Generation int             `json:"generation"`
	Continues  bool            `json:"continues"` // a rebuild that was cut off
	Topics     []RebuildSource `json:"topics"`
	Records    int64           `json:"records"` // to be read, at most
	Refused    []string        `json:"refused,omitempty"`
	Hash       string          `json:"hash"`
}

// RebuildSource is one source topic.
type RebuildSource struct {
	Topic   string `json:"topic"`
	Records int64  `json:"records"`
	Missing int64  `json:"missing,omitempty"` // offsets that are no longer there
}

// Plan looks and changes nothing. What would be lost is refused: a topic whose
// beginning is gone cannot give back what it once said.
func (r *Rebuild) Plan(ctx context.Context) (*RebuildPlan, error) {
	all, err := run.Instructions(ctx, r.Engine)
	if err != nil {
		return nil, err
	}
	g := GenerationIn(all)
	p := &RebuildPlan{Generation: g.Number, Continues: !g.Finished}
	if g.Finished {
		p.Generation++
	}
	starts, ends, err := run.Bounds(ctx, r.Engine, r.Sources)
	if err != nil {
		return nil, err
	}
	for _, topic := range slices.Sorted(slices.Values(r.Sources)) {
		s := RebuildSource{Topic: topic}
		for partition, end := range ends[topic] {
			s.Records += end - starts[topic][partition]
			s.Missing += starts[topic][partition]
		}
		if s.Missing > 0 && !slices.Contains(r.Complete, topic) {
			p.Refused = append(p.Refused, fmt.Sprintf("%s begins above offset 0 (%d records are gone): take a new full snapshot of its table, and say that the topic holds it with --complete %s", topic, s.Missing, topic))
		}
		if _, there := ends[topic]; there {
			p.Topics = append(p.Topics, s)
			p.Records += s.Records
		}
	}
	if p.Continues {
		p.Refused = nil // it was agreed to, and there is no way back
	}
	// Records that come while somebody thinks are no other plan.
	h := sha256.New()
	fmt.Fprintln(h, p.Generation, p.Continues, p.Refused)
	for _, t := range p.Topics {
		fmt.Fprintln(h, t.Topic, t.Missing)
	}
	p.Hash = hex.EncodeToString(h.Sum(nil))[:12]
	return p, nil
}

// Run carries a plan out, and returns when all is published and the old
// generation is deleted. Publication pauses from the end of the old generation
// until the sources are caught up with; what is published is served meanwhile.
func (r *Rebuild) Run(ctx context.Context, plan *RebuildPlan) error {
	if len(plan.Refused) > 0 {
		return fmt.Errorf("rebuild: %s", strings.Join(plan.Refused, "; "))
	}
	g, err := r.state(ctx)
	if err != nil {
		return err
	}
	if g.Finished && g.Number >= plan.Generation || g.Number > plan.Generation {
		return fmt.Errorf("rebuild: generation %d has been made meanwhile; look at the plan again", g.Number)
	}
	if g.Finished {
		g = Generation{Number: plan.Generation}
		if err := r.tell(ctx, run.Instruction{Kind: run.KindRebuild, Why: r.Why, Plan: plan.Hash}, g.Number); err != nil {
			return err
		}
	}
	old, now := r.Names.Of(g.Number-1), r.Names.Of(g.Number)
	if !g.Seeded {
		r.Say("generation %d begins; waiting for the processes of the last one to end", g.Number)
		if err := r.endOf(ctx, old); err != nil {
			return err
		}
		if err := r.seed(ctx, g.Number); err != nil {
			return err
		}
		if g, err = r.state(ctx); err != nil {
			return err
		}
	}
	if !g.Released {
		at, err := r.catchUp(ctx, now)
		if err != nil {
			return err
		}
		if err := r.tell(ctx, run.Instruction{Kind: kindRelease, Hop: HopAccount, Topic: now.Accounts, At: at}, g.Number); err != nil {
			return err
		}
	}
	r.Say("publishing what differs")
	if err := r.poll(ctx, func() (bool, error) {
		g, err := r.state(ctx)
		return g.Done >= int(r.Partitions), err
	}); err != nil {
		return err
	}
	if err := r.heal(ctx, g.Letters); err != nil {
		return err
	}
	var topics []string
	for _, hop := range hopNames {
		topics = append(topics, old.Changelog(hop))
	}
	if err := run.Discard(ctx, r.engine(old), append(topics, old.Rows, old.Documents, old.Accounts), hopNames); err != nil {
		return fmt.Errorf("rebuild: all is published; deleting the last generation: %w", err)
	}
	return r.tell(ctx, run.Instruction{Kind: kindFinished}, g.Number)
}

var hopNames = []string{Intake, HopDocument, HopParty, HopAccount}

// engine is the engine's configuration for a generation's groups and ids.
func (r *Rebuild) engine(n Names) run.Config {
	cfg := r.Engine
	cfg.Prefix = n.Work()
	return cfg
}

func (r *Rebuild) state(ctx context.Context) (Generation, error) {
	all, err := run.Instructions(ctx, r.Engine)
	return GenerationIn(all), err
}

func (r *Rebuild) tell(ctx context.Context, i run.Instruction, generation int) error {
	_, err := run.Instruct(ctx, r.Engine, r.signed(i, generation))
	return err
}

// signed says who gives an instruction, and about which generation.
func (r *Rebuild) signed(i run.Instruction, generation int) run.Instruction {
	i.Who, i.Body = r.Who, []byte(strconv.Itoa(generation))
	if i.Hop == "" {
		i.Hop = rebuildHop
	}
	return i
}

// poll asks until it is true.
func (r *Rebuild) poll(ctx context.Context, ask func() (bool, error)) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ask()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("rebuild: cut off; the same command goes on with it: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// endOf waits until no process of a generation works any more, and makes sure
// that nothing which one has left open is committed later.
func (r *Rebuild) endOf(ctx context.Context, old Names) error {
	for _, hop := range hopNames {
		said := time.Now()
		err := r.poll(ctx, func() (bool, error) {
			p, err := run.ProgressTo(ctx, r.engine(old), hop, nil)
			if p.Members > 0 && time.Since(said) > 15*time.Second {
				said = time.Now()
				r.Say("processes that still belong to hop %s: %d; a frozen one is given up after its session time-out", hop, p.Members)
			}
			return p.Members == 0, err
		})
		if err != nil {
			return err
		}
	}
	return run.Fence(ctx, r.engine(old), hopNames)
}

// catchUp waits until everything that the sources hold now has gone through the
// hops, and returns where the account hop's input ends.
func (r *Rebuild) catchUp(ctx context.Context, now Names) (map[int32]int64, error) {
	_, to, err := run.Bounds(ctx, r.Engine, r.Sources)
	if err != nil {
		return nil, err
	}
	for i, hop := range hopNames[:3] {
		last := int64(-1)
		err := r.poll(ctx, func() (bool, error) {
			p, err := run.ProgressTo(ctx, r.engine(now), hop, to)
			if err != nil {
				return false, err
			}
			if p.Left != last {
				last = p.Left
				r.Say("%s: %d records left, processes: %d", hop, p.Left, p.Members)
			}
			return p.Left == 0 && p.Deferred == 0, nil
		})
		if err != nil {
			return nil, err
		}
		if _, to, err = run.Bounds(ctx, r.Engine, []string{[]string{now.Rows, now.Documents, now.Accounts}[i]}); err != nil {
			return nil, err
		}
	}
	return to[now.Accounts], nil
}

// seed tells the account tasks of a generation what is published, unless that is
// done.
func (r *Rebuild) seed(ctx context.Context, generation int) error {
	now := r.Names.Of(generation)
	hop := run.Hop{Name: HopAccount, Inputs: []string{now.Accounts}, Changelog: run.Topic{Name: now.Changelog(HopAccount), Partitions: r.Partitions, Cleanup: run.Compact}}
	to, err := run.NewSeeder(ctx, r.engine(now), hop)
	if err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	// From here on nobody else can.
	g, err := r.state(ctx)
	if err == nil && g.Seeded {
		return to.Abandon(ctx)
	}
	n := 0
	if err == nil {
		n, err = r.putSeeds(ctx, to, now)
	}
	var letters run.Marks
	if err == nil {
		_, letters, err = run.Bounds(ctx, r.Engine, []string{now.Letters})
	}
	if err != nil {
		return errors.Join(fmt.Errorf("rebuild: reading what is published: %w", err), to.Abandon(context.WithoutCancel(ctx)))
	}
	if err := to.Commit(ctx, r.signed(run.Instruction{Kind: kindSeeded, At: letters[now.Letters]}, generation)); err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	r.Say("the new generation knows the last versions: %d records", n)
	return nil
}

func (r *Rebuild) putSeeds(ctx context.Context, to *run.Seeder, now Names) (n int, err error) {
	encoder, err := canonical.NewEncoder()
	if err != nil {
		return 0, err
	}
	topics := map[string]account.Topic{}
	decoders := map[account.Topic]*canonical.Decoder{}
	for _, t := range account.Topics() {
		topics[now.Record(t.String())] = t
		if decoders[t], err = canonical.NewDecoder(t.String(), r.Schemas); err != nil {
			return 0, err
		}
	}
	for p := range r.Partitions {
		key, value := account.Held()
		to.Put(ctx, p, key, value)
	}
	err = run.ReadAll(ctx, r.Engine, slices.Collect(maps.Keys(topics)), func(m *run.Message) error {
		n++
		topic := topics[m.Topic]
		rec := canonical.Blank(topic.String(), canonical.Envelope{})
		if err := decoders[topic].Decode(ctx, m.Value, rec); err != nil {
			return fmt.Errorf("%s/%d at offset %d: %w", m.Topic, m.Partition, m.Offset, err)
		}
		in := r.seedPartitions(topic, rec)
		key, value, err := account.Seed(topic, rec, encoder)
		if err != nil {
			return fmt.Errorf("%s/%d at offset %d: %w", m.Topic, m.Partition, m.Offset, err)
		}
		for _, p := range in {
			to.Put(ctx, p, key, value)
		}
		return nil
	})
	return n, err
}

// heal marks the letters that the new generation has not written again: what
// they were about can be taken now, or is in no topic that is read.
func (r *Rebuild) heal(ctx context.Context, until map[int32]int64) error {
	decoder, err := canonical.NewDecoder(recordLetter, r.Schemas)
	if err != nil {
		return err
	}
	records, err := registerRecords(ctx, r.Schemas, r.Names)
	if err != nil {
		return err
	}
	healed := map[string]run.Message{}
	err = run.ReadAll(ctx, r.Engine, []string{r.Names.Letters}, func(m *run.Message) error {
		var rec canonical.LetterRecord
		if err := decoder.Decode(ctx, m.Value, &rec); err != nil {
			return fmt.Errorf("%s/%d at offset %d: %w", m.Topic, m.Partition, m.Offset, err)
		}
		if rec.Healed || m.Offset >= until[m.Partition] {
			delete(healed, string(m.Key))
			return nil
		}
		_, _, key, value, err := records.letter(change.Letter{
			Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Timestamp: rec.Timestamp,
			Hop: rec.Hop, Reason: rec.Reason, Message: rec.Message, Fingerprint: rec.Fingerprint, Attempts: rec.Attempts, State: letters.Healed,
			Subject: change.Subject{System: rec.System, Entity: rec.Entity, Part: rec.Part, ID: text(rec.RowID), Document: text(rec.DocumentID)},
		})
		healed[string(key)] = run.Message{Topic: m.Topic, Partition: m.Partition, Key: key, Value: value}
		return err
	})
	if err == nil {
		err = run.Append(ctx, r.Engine, slices.Collect(maps.Values(healed)))
	}
	if err != nil {
		return fmt.Errorf("rebuild: healing letters: %w", err)
	}
	r.Say("letters that are healed by this: %d", len(healed))
	return nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// seedPartitions are the account tasks that may publish a record's entity: the
// one of its account, or of the document that it belongs to. A deletion that
// does not say which document that was is told to all: it only gives versions.
func (r *Rebuild) seedPartitions(topic account.Topic, rec canonical.Versioned) []int32 {
	head := rec.Head()
	var by []byte
	if head.AccountID == nil {
		by = orphanKey(topic, rec)
	} else if id, err := uuid.Parse(*head.AccountID); err == nil {
		by = id[:]
	}
	if by == nil {
		all := make([]int32, r.Partitions)
		for p := range all {
			all[p] = int32(p) //nolint:gosec // a partition
		}
		return all
	}
	return []int32{run.PartitionOf(by, r.Partitions)}
}

// orphanKey is what partitions the records of a document without account, nil
// where the record does not tell which document that is.
func orphanKey(topic account.Topic, rec canonical.Versioned) []byte {
	head := rec.Head()
	entity, id := topic.String(), head.NativeID
	switch rec := rec.(type) {
	case *canonical.PaymentRecord:
		if rec.InvoiceNativeID == nil {
			return nil
		}
		entity, id = canonical.Invoice, *rec.InvoiceNativeID
	case *canonical.DealRecord:
		entity = canonical.Opportunity
	}
	return documentPartition(change.DocumentHead{System: head.System, Entity: entity, ID: id})
}
