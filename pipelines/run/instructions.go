package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/schemas/change"
)

// Instruction is an operator's act that reaches tasks through a topic of its
// own, with one partition, that is never emptied: it is the record of what was
// done as well. A task obeys each instruction that concerns it exactly once, also
// one that is older than the task.
type Instruction struct {
	ID   string // never used twice
	Kind string
	// Hop and Topic say which tasks it concerns; "" is all.
	Hop, Topic string
	// At is by input partition the offset at which it acts: behind all records
	// below, before all others. A partition that is absent has it act at once.
	At             map[int32]int64
	Who, Why, Plan string // Plan is the hash of what was shown before it was agreed to
	When           int64  // milliseconds since 1970-01-01 UTC
	Body           []byte // what else the kind needs
}

// KindSkip is the engine's own kind: the tasks of Topic whose partitions are in
// At go on at these offsets, whatever their position was.
const KindSkip = "skip"

// Obedient is a task that takes instructions. Obey is called once for each that
// concerns the task, in the transaction that notes so. It passes, drops what
// does not concern it or what it does not know, or stops the task; the rules for
// Process hold for it too. Work that is too large goes through Advance.
type Obedient interface {
	Obey(i *Instruction, out Emitter) change.Verdict
}

// InstructionCodec gives instructions their bytes.
type InstructionCodec interface {
	EncodeInstruction(i *Instruction) (value []byte, err error)
	DecodeInstruction(value []byte) (*Instruction, error)
}

// concerns says whether the task of a hop's input partition obeys i.
func (i *Instruction) concerns(hop string, id partitionID) bool {
	if (i.Hop != "" && i.Hop != hop) || (i.Topic != "" && i.Topic != id.topic) {
		return false
	}
	if i.Kind == KindSkip {
		_, named := i.At[id.partition]
		return named && i.Topic == id.topic
	}
	return true
}

// order is an instruction and its offset in the topic.
type order struct {
	offset int64
	*Instruction
}

// orders are all instructions that a process has read, in the topic's order.
type orders struct {
	topic string
	codec InstructionCodec
	log   *slog.Logger

	generation int
	outdated   func() // called when a later generation begins; nil if nobody asks

	mu   sync.Mutex
	over bool // a later generation has begun
	list []order
	next int64 // behind the last one read
	wake []func()
}

// from returns the instructions at an offset and behind it, and the offset
// behind the last one.
func (o *orders) from(offset int64) ([]order, int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := len(o.list)
	for i > 0 && o.list[i-1].offset >= offset {
		i--
	}
	return o.list[i:len(o.list):len(o.list)], o.next
}

// read follows the topic until ctx ends.
func (o *orders) read(ctx context.Context, cl *kgo.Client) {
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			if ctx.Err() == nil {
				o.log.Warn("cannot read instructions, trying again", "error", e.Err)
				pause(ctx, time.Second)
			}
		}
		n := 0
		o.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) {
			n++
			o.next = r.Offset + 1
			if r.Attrs.IsControl() {
				return
			}
			i, err := o.codec.DecodeInstruction(r.Value)
			if err != nil {
				o.log.Error("an instruction cannot be read and is passed over", "topic", o.topic, "offset", r.Offset, "error", err)
				return
			}
			o.take(order{r.Offset, i})
		})
		wake := o.wake
		o.mu.Unlock()
		if n > 0 {
			for _, f := range wake {
				f()
			}
		}
	}
}

// take keeps an instruction. A skip is over where all begins anew. o.mu is held.
func (o *orders) take(i order) {
	if o.outdated != nil && (i.Kind == KindRebuild || i.Kind == KindForgotten) {
		if GenerationOf(i.Instruction) > o.generation {
			o.over = true
			o.outdated()
		} else {
			o.list = slices.DeleteFunc(slices.Clone(o.list), func(o order) bool { return o.Kind == KindSkip })
		}
	}
	o.list = append(o.list, i)
}

// ended says whether a later generation has begun.
func (o *orders) ended() bool {
	if o == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.over
}

// caughtUp waits until all is read that is in the topic now. A task that starts
// must not overlook what was said before.
func (o *orders) caughtUp(ctx context.Context, admin *kadm.Client) error {
	ends, err := admin.ListCommittedOffsets(ctx, o.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("listing the end of %s: %w", o.topic, err)
	}
	end, _ := ends.Lookup(o.topic, 0)
	for {
		if _, next := o.from(end.Offset); next >= end.Offset {
			return nil
		}
		if !pause(ctx, 5*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// instructionReader makes the client that follows the instructions topic.
func (c Config) instructionReader(id string) (*kgo.Client, error) {
	return kgo.NewClient(append(append(c.connectOpts(id), fetchOpts(1<<20, 1)...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.Instructions.Name: {0: kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(time.Second),
	)...)
}

// Instruct writes an instruction, with an id of its own and the present time
// where it has none, and returns it as written. The topic is made if it is
// absent.
func Instruct(ctx context.Context, cfg Config, i Instruction) (Instruction, error) {
	cfg = cfg.withDefaults()
	value, err := stamped(cfg, &i)
	if err != nil {
		return i, err
	}
	cl, err := kgo.NewClient(append(cfg.connectOpts(cfg.Prefix+".instruct"), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		return i, fmt.Errorf("writing an instruction: %w", err)
	}
	defer cl.Close()
	if err := ensureTopics(ctx, kadm.NewClient(cl), cfg, []Topic{cfg.Instructions}); err != nil {
		return i, fmt.Errorf("writing an instruction: %w", err)
	}
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: cfg.Instructions.Name, Key: []byte(i.ID), Value: value}).FirstErr(); err != nil {
		return i, fmt.Errorf("writing an instruction: %w", err)
	}
	return i, nil
}

// stamped gives an instruction id and time, where it has none, and its bytes.
func stamped(cfg Config, i *Instruction) ([]byte, error) {
	if i.Kind == "" {
		return nil, errors.New("writing an instruction: it has no kind")
	}
	if i.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("writing an instruction: %w", err)
		}
		i.ID = id.String()
	}
	if i.When == 0 {
		i.When = time.Now().UnixMilli()
	}
	value, err := cfg.InstructionCodec.EncodeInstruction(i)
	if err != nil {
		return nil, fmt.Errorf("writing an instruction: %w", err)
	}
	return value, nil
}

// Instructions reads all that were ever given, in order.
func Instructions(ctx context.Context, cfg Config) ([]Instruction, error) {
	cfg = cfg.withDefaults()
	o := orders{topic: cfg.Instructions.Name, codec: cfg.InstructionCodec, log: cfg.Log}
	cl, err := cfg.instructionReader(cfg.Prefix + ".instructions")
	if err != nil {
		return nil, fmt.Errorf("reading instructions: %w", err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	found, err := describeTopics(ctx, admin, []string{o.topic})
	if err != nil || found[o.topic].count == 0 {
		return nil, err
	}
	reading, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { o.read(reading, cl) })
	err = o.caughtUp(ctx, admin)
	stop()
	wg.Wait()
	if err != nil {
		return nil, fmt.Errorf("reading instructions: %w", err)
	}
	all, _ := o.from(0)
	out := make([]Instruction, len(all))
	for i := range all {
		out[i] = *all[i].Instruction
	}
	return out, nil
}

// Ends are the end offsets of a topic's partitions, for an instruction that is
// to act behind all that is there now.
func Ends(ctx context.Context, cfg Config, topic string) (map[int32]int64, error) {
	cfg = cfg.withDefaults()
	cl, err := kgo.NewClient(cfg.connectOpts(cfg.Prefix + ".ends")...)
	if err != nil {
		return nil, fmt.Errorf("listing ends of %s: %w", topic, err)
	}
	defer cl.Close()
	listed, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("listing ends of %s: %w", topic, err)
	}
	out := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { out[o.Partition] = o.Offset })
	if len(out) == 0 {
		return nil, fmt.Errorf("listing ends of %s: it has no partitions", topic)
	}
	return out, nil
}
