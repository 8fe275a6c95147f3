package run

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"syncline/processors/state"
	"syncline/schemas/change"
)

// Driver runs a topology over plain queues in memory, one transaction after
// another in a random order drawn from a seed: which task is next, how much it
// polls, which transactions are thrown away, when a task is made anew. Order
// within a partition is kept, as on Kafka; nothing else is.
//
// It is the oracle of order independence: every seed must give the same
// canonical state. It serves one goroutine.
type Driver struct {
	// Poll is the most records of one transaction; 1 to Poll are drawn. Default 64.
	Poll int
	// Aborts and Crashes are the shares of transactions (0 to 1) that are thrown
	// away, and after which the task is made anew from its committed state.
	Aborts, Crashes float64
	// Encode gives the place of a dead letter; nil makes a Park verdict an error.
	Encode func(change.Letter) (topic string, partitionKey, key, value []byte, err error)

	// Instructions is the topic of instructions that tasks may emit, and Codec
	// reads it.
	Instructions string
	Codec        InstructionCodec

	told   []order
	hops   []Hop
	random *rand.Rand
	counts map[string]int32 // partitions by topic
	topics map[string][][]Message
	tasks  []*driven
	// Verdicts counts records by hop and reason; "" is passed.
	Verdicts map[string]map[string]int
	// Waited counts the seconds that tasks were told to have waited.
	Waited int
}

// driven is one task with its input position.
type driven struct {
	hop     *Hop
	topic   string
	part    int32
	next    int
	table   *state.Table
	task    Task
	more    bool // Advance has said that work is left
	waiting int  // tries of the record that waits
	waits   change.Verdict
	stopped error

	obedience obedience
}

// NewDriver makes a driver of hops. sources gives the count of partitions of the
// topics that no hop writes.
func NewDriver(hops []Hop, sources int32, seed uint64) *Driver {
	d := &Driver{
		Poll: 64, hops: hops, random: rand.New(rand.NewPCG(seed, 0x5eed)), //nolint:gosec // a reproducible order, no secret
		counts: map[string]int32{}, topics: map[string][][]Message{}, Verdicts: map[string]map[string]int{},
	}
	for i := range hops {
		h := &hops[i]
		d.Verdicts[h.Name] = map[string]int{}
		for _, t := range h.Outputs {
			d.counts[t.Name] = t.Partitions
		}
	}
	for i := range hops {
		for _, in := range hops[i].Inputs {
			if _, owned := d.counts[in]; !owned {
				d.counts[in] = sources
			}
		}
	}
	for name, n := range d.counts {
		d.topics[name] = make([][]Message, n)
	}
	for i := range hops {
		for _, in := range hops[i].Inputs {
			for p := range d.counts[in] {
				d.tasks = append(d.tasks, &driven{hop: &hops[i], topic: in, part: p, table: state.New(), obedience: newObedience(mark{})})
			}
		}
	}
	return d
}

// Feed appends one source record. The driver keeps the slices.
func (d *Driver) Feed(topic string, partition int32, key, value []byte, timestamp int64) error {
	queue, ok := d.topics[topic]
	if !ok || int(partition) >= len(queue) {
		return fmt.Errorf("feeding %s/%d: no hop reads it", topic, partition)
	}
	d.append(topic, partition, key, value, timestamp)
	return nil
}

// Instruct gives an instruction to all tasks that it concerns, those that are yet
// to be made too.
func (d *Driver) Instruct(i *Instruction) {
	d.told = append(d.told, order{int64(len(d.told)), i})
}

// Said returns all instructions so far, in order.
func (d *Driver) Said() []Instruction {
	out := make([]Instruction, len(d.told))
	for i, o := range d.told {
		out[i] = *o.Instruction
	}
	return out
}

// Knows reports whether a hop reads or writes the topic.
func (d *Driver) Knows(topic string) bool { return d.topics[topic] != nil }

// Log returns the records of one partition of a topic, from the first on.
func (d *Driver) Log(topic string) [][]Message { return d.topics[topic] }

func (d *Driver) append(topic string, partition int32, key, value []byte, timestamp int64) {
	q := d.topics[topic]
	q[partition] = append(q[partition], Message{Topic: topic, Partition: partition, Offset: int64(len(q[partition])), Timestamp: timestamp, Key: key, Value: value})
}

// errIdle says that nothing more can be done.
var errIdle = errors.New("idle")

// Run runs until no input is left and no work deferred. Records that still wait
// then are left where they are; a stopped task is an error.
func (d *Driver) Run() error {
	for {
		if err := d.Step(); errors.Is(err, errIdle) {
			break
		} else if err != nil {
			return err
		}
	}
	for _, t := range d.tasks {
		if t.stopped != nil {
			return fmt.Errorf("task %s %s/%d: %w", t.hop.Name, t.topic, t.part, t.stopped)
		}
	}
	return nil
}

// Waits returns the verdicts on the records that still wait.
func (d *Driver) Waits() []change.Verdict {
	var list []change.Verdict
	for _, t := range d.tasks {
		if t.waiting > 0 {
			list = append(list, t.waits)
		}
	}
	return list
}

// Steps runs at most n transactions.
func (d *Driver) Steps(n int) error {
	for range n {
		if err := d.Step(); errors.Is(err, errIdle) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// maxDrivenBytes is Config.MaxRecordBytes by default.
const maxDrivenBytes = 1 << 20

// maxWaits is how often a waiting record is tried before the driver gives it up
// as idle; each try tells the task that a second has passed.
const maxWaits = 120

// Step runs one transaction of a random task that has something to do.
func (d *Driver) Step() error {
	var ready []*driven
	for _, t := range d.tasks {
		if err := d.look(t); err != nil {
			return err
		}
		input := t.next < len(d.topics[t.topic][t.part]) && t.waiting < maxWaits
		if t.stopped == nil && (input || t.more || t.obedience.due <= int64(t.next) || t.obedience.nextAgain() != nil) {
			ready = append(ready, t)
		}
	}
	if len(ready) == 0 {
		return errIdle
	}
	return d.transact(ready[d.random.IntN(len(ready))])
}

type emitted struct {
	topic                    string
	partitionKey, key, value []byte
}

type emissions []emitted

func (e *emissions) Emit(topic string, partitionKey, key, value []byte) {
	*e = append(*e, emitted{topic, partitionKey, key, value})
}

// make makes a task that is not there.
func (d *Driver) make(t *driven) error {
	if t.task != nil {
		return nil
	}
	task, err := t.hop.NewTask(TaskInfo{Hop: t.hop.Name, Topic: t.topic, Partition: t.part, Store: t.table, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("making task %s %s/%d: %w", t.hop.Name, t.topic, t.part, err)
	}
	t.task = task
	return nil
}

// Restart makes every task anew, also those that have stopped, as a new process
// would.
func (d *Driver) Restart() {
	for _, t := range d.tasks {
		t.task, t.stopped, t.waiting = nil, nil, 0
	}
}

// look has a task take in what was said; skips are done at once.
func (d *Driver) look(t *driven) error {
	if t.obedience.seen == int64(len(d.told)) {
		return nil
	}
	if err := d.make(t); err != nil {
		return err
	}
	_, obedient := t.task.(Obedient)
	id := partitionID{t.topic, t.part}
	var duties []order
	for _, o := range d.told[t.obedience.seen:] {
		switch {
		case o.Kind == KindSkip && o.concerns(t.hop.Name, id):
			t.next, t.waiting, t.stopped = int(o.At[t.part]), 0, nil
		case o.Kind != KindSkip && obedient:
			duties = append(duties, o)
		}
	}
	t.obedience.look(duties, int64(len(d.told)), t.hop.Name, id)
	return nil
}

// obey has a task obey what is due; false stops it.
func (d *Driver) obey(t *driven, at int64, out *emissions) bool {
	err := t.obedience.obey(at, func(i *Instruction) error {
		_, err := obeyed(t.task.(Obedient), i, out) //nolint:forcetypeassert // only such a task has duties
		return err
	})
	if err != nil {
		t.stopped = err
	}
	return err == nil
}

// again has a task take records once more.
func (d *Driver) again(t *driven, out *emissions) error {
	duty := t.obedience.nextAgain()
	if duty == nil || t.stopped != nil {
		return nil //nolint:nilerr // the task's error, not the driver's
	}
	rereader, ok := t.task.(Rereader)
	if !ok {
		duty.again = false
		t.obedience.reckon()
		return nil
	}
	for _, r := range duty.ranges(t.part) {
		for n := r[0]; n < min(r[1], int64(len(d.topics[t.topic][t.part]))); n++ {
			m := d.topics[t.topic][t.part][n]
			switch v := rereader.Again(duty.Instruction, &m, out); v.Kind {
			case change.Park:
				if err := d.letter(t, &m, v, out); err != nil {
					return err
				}
			case change.Stop:
				t.stopped = v.Err
				return nil
			case change.Pass, change.Drop, change.Wait:
			}
		}
	}
	duty.done = true
	return nil
}

func (d *Driver) transact(t *driven) error {
	if err := d.make(t); err != nil {
		return err
	}
	var out emissions
	queue := d.topics[t.topic][t.part]
	n := min(1+d.random.IntN(d.Poll), len(queue)-t.next)
	verdicts := map[string]int{}
	done, waited := 0, false
	var stamp int64
	for i := range n {
		m := queue[t.next+i]
		if !d.obey(t, m.Offset, &out) {
			break
		}
		m.Waited = time.Duration(t.waiting) * time.Second
		stamp = m.Timestamp
		v := t.task.Process(&m, &out)
		switch v.Kind {
		case change.Wait:
			t.waiting, t.waits = t.waiting+1, v
			d.Waited++
			waited = true
		case change.Stop:
			t.stopped = v.Err
			waited = true
		case change.Park:
			if err := d.letter(t, &m, v, &out); err != nil {
				return err
			}
		}
		if waited {
			break
		}
		t.waiting = 0
		verdicts[v.Reason]++
		done++
	}
	if !waited && t.stopped == nil {
		d.obey(t, int64(t.next+done), &out)
	}
	if err := d.again(t, &out); err != nil {
		return err
	}
	if err := t.task.Flush(&out); err != nil {
		return fmt.Errorf("flushing %s %s/%d: %w", t.hop.Name, t.topic, t.part, err)
	}
	more, err := t.task.Advance(1+d.random.IntN(d.Poll), &out)
	if err != nil {
		return fmt.Errorf("advancing %s %s/%d: %w", t.hop.Name, t.topic, t.part, err)
	}
	if d.random.Float64() < d.Aborts {
		t.table.Rollback()
		t.obedience.rollback()
		t.task.Reset()
		return nil
	}
	t.table.Commit()
	t.obedience.commit()
	t.next, t.more = t.next+done, more
	for r, n := range verdicts {
		d.Verdicts[t.hop.Name][r] += n
	}
	for _, e := range out {
		if e.topic == d.Instructions && d.Codec != nil {
			i, err := d.Codec.DecodeInstruction(e.value)
			if err != nil {
				return fmt.Errorf("hop %s: %w", t.hop.Name, err)
			}
			d.Instruct(i)
			continue
		}
		count, ok := d.counts[e.topic]
		if !ok || !slices.ContainsFunc(t.hop.Outputs, func(o Topic) bool { return o.Name == e.topic }) {
			return fmt.Errorf("hop %s writes %s, which it has not declared", t.hop.Name, e.topic)
		}
		if n := len(e.key) + len(e.value); n > maxDrivenBytes {
			return fmt.Errorf("hop %s writes a record of %d bytes to %s, the limit is %d", t.hop.Name, n, e.topic, maxDrivenBytes)
		}
		d.append(e.topic, PartitionOf(e.partitionKey, count), e.key, e.value, stamp)
	}
	if d.random.Float64() < d.Crashes {
		t.task = nil
	}
	return nil
}

func (d *Driver) letter(t *driven, m *Message, v change.Verdict, out *emissions) error {
	if d.Encode == nil {
		return fmt.Errorf("task %s %s/%d@%d: %s: %w", t.hop.Name, m.Topic, m.Partition, m.Offset, v.Reason, v.Err)
	}
	letter := change.Letter{
		Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Timestamp: m.Timestamp,
		Key: m.Key, Value: m.Value, Hop: t.hop.Name, Reason: v.Reason,
	}
	describe(&letter, v)
	topic, partitionKey, key, value, err := d.Encode(letter)
	if err != nil {
		return err
	}
	out.Emit(topic, partitionKey, key, value)
	return nil
}
