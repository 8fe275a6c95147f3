package run

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/processors/state"
	"syncline/schemas/change"
)

// plainCodec is as good as any: the engine does not look into the bytes.
type plainCodec struct{}

func (plainCodec) EncodeInstruction(i *Instruction) ([]byte, error) { return json.Marshal(i) }
func (plainCodec) DecodeInstruction(b []byte) (*Instruction, error) {
	var i Instruction
	return &i, json.Unmarshal(b, &i)
}

// witness counts the records of its task, and for each instruction writes down
// how many there were before it.
type witness struct {
	info         TaskInfo
	out          string
	instructions string
}

var countKey = []byte("n")

func (w *witness) count() uint64 {
	if v := w.info.Store.Get(countKey); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (w *witness) Process(m *Message, out Emitter) change.Verdict {
	w.info.Store.Put(countKey, binary.BigEndian.AppendUint64(nil, w.count()+1))
	if string(m.Value) == "tell0" {
		i := Instruction{ID: fmt.Sprintf("told/%d", m.Offset), Kind: "note"}
		value, _ := plainCodec{}.EncodeInstruction(&i)
		out.Emit(w.instructions, nil, []byte(i.ID), value)
	}
	return change.Verdict{}
}

func (w *witness) Obey(i *Instruction, out Emitter) change.Verdict {
	switch i.Kind {
	case "note":
		key := fmt.Appendf(nil, "%s %s/%d", i.ID, w.info.Topic, w.info.Partition)
		out.Emit(w.out, key, key, binary.BigEndian.AppendUint64(nil, w.count()))
		// Once more would show in the state as well.
		w.info.Store.Put(append([]byte("obeyed/"), key...), []byte{1})
		return change.Verdict{}
	case "refuse":
		return change.Stopped("test.refused", errors.New("the operator may not"))
	}
	return change.Dropped("instruction.unknown")
}
func (w *witness) Flush(Emitter) error                { return nil }
func (w *witness) Advance(int, Emitter) (bool, error) { return false, nil }
func (w *witness) Reset()                             {}

var _ state.Store = (*state.Table)(nil)

func (w *world) witnessHop(inputs ...string) Hop {
	hop := w.countHop(inputs[0], nil)
	hop.Inputs = inputs
	hop.NewTask = func(i TaskInfo) (Task, error) {
		return &witness{info: i, out: hop.Outputs[0].Name, instructions: w.topic("instructions")}, nil
	}
	return hop
}

func (w *world) instructed() Config {
	cfg := w.config()
	cfg.Instructions = Topic{Name: w.topic("instructions"), Partitions: 1, Cleanup: Compact}
	cfg.InstructionCodec = plainCodec{}
	return cfg
}

func (w *world) instruct(i Instruction) {
	w.t.Helper()
	if _, err := Instruct(w.t.Context(), w.instructed(), i); err != nil {
		w.t.Fatal(err)
	}
}

// notes are what the tasks wrote down: records before each instruction, by
// instruction and task.
func (w *world) notes() map[string][]uint64 {
	w.t.Helper()
	got := map[string][]uint64{}
	for _, r := range w.readAll(w.topic("counts")) {
		got[string(r.Key)] = append(got[string(r.Key)], binary.BigEndian.Uint64(r.Value))
	}
	return got
}

// ends are the ends of a topic's partitions.
func (w *world) ends(topic string) map[int32]int64 {
	out := map[int32]int64{}
	for p := range int32(toyPartitions) {
		out[p] = w.end(topic, p)
	}
	return out
}

// wantNotes holds that each task obeyed once, at the given place.
func (w *world) wantNotes(id, topic string, at map[int32]int64) {
	w.t.Helper()
	notes := w.notes()
	for p := range int32(toyPartitions) {
		key := fmt.Sprintf("%s %s/%d", id, topic, p)
		if want := []uint64{uint64(at[p])}; !slices.Equal(notes[key], want) { //nolint:gosec // offsets are not negative
			w.t.Errorf("%s: obeyed after %v records, want %v", key, notes[key], want)
		}
	}
}

// An instruction acts behind the records below its offset and before the others,
// however transactions fall.
func TestInstructionActsAtItsPlace(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	w.produce(in, toyPartitions, 200, 20, "a")
	at := w.ends(in)
	w.produce(in, toyPartitions, 200, 20, "b")
	w.instruct(Instruction{ID: "here", Kind: "note", Topic: in, At: at})
	w.instruct(Instruction{ID: "another topic", Kind: "note", Topic: w.topic("absent")})
	w.instruct(Instruction{ID: "another hop", Kind: "note", Hop: "absent"})
	r := w.start(w.instructed(), w.witnessHop(in)).waitUp()
	r.waitIdle(20 * time.Second)
	// Later ones, at once and at the end, wait for no record.
	ends := w.ends(in)
	w.instruct(Instruction{ID: "at once", Kind: "note"})
	w.instruct(Instruction{ID: "at the end", Kind: "note", Hop: "count", At: ends})
	w.wait("all have obeyed", 20*time.Second, func() bool { return len(w.notes()) == 3*toyPartitions })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = w.start(w.instructed(), w.witnessHop(in)).waitUp()
	r.waitIdle(20 * time.Second)
	w.produce(in, toyPartitions, 20, 20, "c")
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.wantNotes("here", in, at)
	w.wantNotes("at once", in, ends)
	w.wantNotes("at the end", in, ends)
	if n := len(w.notes()); n != 3*toyPartitions {
		t.Errorf("%d notes, want %d", n, 3*toyPartitions)
	}
	all, err := Instructions(t.Context(), w.instructed())
	if err != nil || len(all) != 5 || all[0].ID != "here" || all[4].ID != "at the end" || all[0].When == 0 {
		t.Errorf("the record of what was done: %+v, %v", all, err)
	}
}

// A process that ends at any point, and another that takes its tasks, obey once.
func TestInstructionsAcrossCrashes(t *testing.T) {
	for _, point := range []string{CrashAfterPoll, CrashBeforeBegin, CrashAfterProduce, CrashBeforeEnd, CrashAfterEnd, CrashMidRestore} {
		t.Run(point, func(t *testing.T) {
			w, _ := newFake(t)
			in := w.create("in", toyPartitions)
			w.produce(in, toyPartitions, 100, 20, "a")
			r := w.start(w.instructed(), w.witnessHop(in)).waitUp()
			r.waitIdle(20 * time.Second)
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			at := w.ends(in)
			w.produce(in, toyPartitions, 100, 20, "b")
			w.instruct(Instruction{ID: "here", Kind: "note", At: at})
			cfg := w.instructed()
			cfg.TransactionTimeout = time.Second
			var hit atomic.Bool
			cfg.Crash = func(p string) error {
				if p == point && hit.CompareAndSwap(false, true) {
					return errors.New("crash")
				}
				return nil
			}
			r = w.start(cfg, w.witnessHop(in))
			if err := <-r.done; err == nil {
				t.Fatal("it did not crash, so the test shows nothing")
			}
			other := w.instructed()
			other.Slot = 1 // the tasks go to another member
			r = w.start(other, w.witnessHop(in)).waitUp()
			r.waitIdle(40 * time.Second)
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			w.wantNotes("here", in, at)
		})
	}
}

func TestInstructionsAreObeyedOnceByTwoMembers(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	stop := w.feed(in, 40)
	first := w.start(w.instructed(), w.witnessHop(in)).waitUp()
	const rounds = 4
	for i := range rounds {
		cfg := w.instructed()
		cfg.Slot, cfg.LeaveOnDrain = 1, true
		other := w.start(cfg, w.witnessHop(in)).waitUp()
		w.instruct(Instruction{ID: fmt.Sprint("note", i), Kind: "note"})
		if i%2 == 0 {
			w.wait("the other has tasks", 30*time.Second, func() bool { return len(other.tr.Status().Hops[0].Tasks) > 0 })
		}
		if err := other.stop(); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	first.waitIdle(60 * time.Second)
	w.wait("all have obeyed", 30*time.Second, func() bool { return len(w.notes()) == rounds*toyPartitions })
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	for key, n := range w.notes() {
		if len(n) != 1 {
			t.Errorf("%s: obeyed %d times", key, len(n))
		}
	}
}

// A task that appears later obeys what was said before it was there.
func TestLaterTasksObeyOldInstructions(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	late := w.topic("late")
	r := w.start(w.instructed(), w.witnessHop(in, late)).waitUp()
	w.instruct(Instruction{ID: "old", Kind: "note"})
	w.instruct(Instruction{ID: "of three", Kind: "note", Topic: late, At: map[int32]int64{0: 3, 1: 3, 2: 3, 3: 3}})
	w.wait("the present tasks have obeyed", 20*time.Second, func() bool { return len(w.notes()) == toyPartitions })
	w.create("late", toyPartitions)
	for range 2 {
		w.produce(late, toyPartitions, 100, 20, "a")
		r.waitIdle(20 * time.Second)
		w.wait("the late tasks have obeyed", 20*time.Second, func() bool { return len(w.notes()) == 3*toyPartitions })
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r = w.start(w.instructed(), w.witnessHop(in, late)).waitUp()
	}
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.wantNotes("old", in, nil)
	w.wantNotes("of three", late, map[int32]int64{0: 3, 1: 3, 2: 3, 3: 3})
	for key, n := range w.notes() {
		if len(n) != 1 {
			t.Errorf("%s: obeyed %d times", key, len(n))
		}
	}
}

// A task may tell all others, in the transaction of the record that made it.
func TestTasksMayInstruct(t *testing.T) {
	w, _ := newFake(t)
	in := w.create("in", toyPartitions)
	r := w.start(w.instructed(), w.witnessHop(in)).waitUp()
	w.produce(in, toyPartitions, 40, 20, "a")
	w.produce(in, toyPartitions, 1, 1, "tell")
	w.wait("all have obeyed", 20*time.Second, func() bool { return len(w.notes()) == toyPartitions })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestUnknownInstructionsAreIgnoredAndRefusedOnesStop(t *testing.T) {
	w, _ := newFake(t)
	in := w.create("in", toyPartitions)
	w.instruct(Instruction{Kind: "of a later version"})
	w.produceRecords(&kgo.Record{Topic: w.topic("instructions"), Key: []byte("x"), Value: []byte("{no json")})
	w.instruct(Instruction{ID: "known", Kind: "note"})
	r := w.start(w.instructed(), w.witnessHop(in)).waitUp()
	w.produce(in, toyPartitions, 100, 20, "a")
	r.waitIdle(20 * time.Second)
	w.wait("all have obeyed", 20*time.Second, func() bool { return len(w.notes()) == toyPartitions })
	w.instruct(Instruction{Kind: "refuse", Topic: in, At: map[int32]int64{0: never, 1: 0, 2: never, 3: never}})
	s := r.waitState(in, 1, "stopped")
	if s.Reason != "test.refused" || !strings.Contains(s.Message, "the operator may not") {
		t.Errorf("%s: %s", s.Reason, s.Message)
	}
	w.produce(in, toyPartitions, 100, 20, "b")
	w.wait("the others go on", 20*time.Second, func() bool {
		for p := range int32(toyPartitions) {
			if s, _ := r.task(in, p); p != 1 && (s.State != "running" || s.Lag != 0) {
				return false
			}
		}
		return true
	})
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

// A skip lets a stopped task go on where it says, once; a wrong one is told.
func TestSkipLetsATaskGoOn(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	hop := w.countHop(in, nil)
	r := w.start(w.instructed(), hop).waitUp()
	w.produce(in, toyPartitions, 100, 10, "a")
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	part := PartitionOf([]byte("k0"), toyPartitions)
	w.produce(in, toyPartitions, 100, 10, "b")
	gone := w.end(in, part)
	w.deleteBelow(in, part, gone)
	w.produce(in, toyPartitions, 100, 10, "c")
	r = w.start(w.instructed(), hop).waitUp()
	r.waitState(in, part, "stopped")
	w.instruct(Instruction{Kind: KindSkip, Topic: in, At: map[int32]int64{part: 1 << 40}})
	w.wait("the wrong offset is told", 20*time.Second, func() bool {
		s, _ := r.task(in, part)
		return s.State == "stopped" && strings.Contains(s.Message, fmt.Sprint(1<<40))
	})
	w.instruct(Instruction{Kind: KindSkip, Topic: in, At: map[int32]int64{part: gone}, Who: "test", Why: "lost"})
	r.waitState(in, part, "running")
	for range 2 {
		r.waitIdle(20 * time.Second)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r = w.start(w.instructed(), hop).waitUp()
	}
	w.produce(in, toyPartitions, 100, 10, "d")
	r.waitIdle(20 * time.Second)
	// Forwards, over records that would be read: also of a task that runs.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	want := totals(400, 10)
	lost := totals(100, 10)
	for k := range want {
		if PartitionOf(fmt.Appendf(nil, "k%d", k), toyPartitions) == part {
			want[k] -= lost[k]
		}
	}
	w.checkTotals(w.topic("counts"), want)
}

// A running task can be put back, and the tasks of a topic that was made anew go
// on from its beginning.
func TestSkipBackwardsAndIntoARemadeTopic(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	hop := w.countHop(in, nil)
	r := w.start(w.instructed(), hop).waitUp()
	w.produce(in, toyPartitions, 100, 10, "a")
	r.waitIdle(20 * time.Second)
	back := map[int32]int64{0: 0, 1: 0, 2: 0, 3: 0}
	counted := func(n int) func() bool {
		return func() bool {
			sum := 0
			for range w.readAll(w.topic("counts")) {
				sum++
			}
			return sum >= n
		}
	}
	w.instruct(Instruction{Kind: KindSkip, Topic: in, At: back})
	w.wait("all is read again", 20*time.Second, counted(200))
	w.remake("in", toyPartitions)
	w.produce(in, toyPartitions, 300, 10, "b")
	w.wait("the tasks of the new topic stop", 30*time.Second, func() bool {
		for p := range int32(toyPartitions) {
			if s, _ := r.task(in, p); s.State != "stopped" || !strings.Contains(s.Message, "offsets 0 to ") {
				return false
			}
		}
		return true
	})
	w.instruct(Instruction{Kind: KindSkip, Topic: in, At: back})
	w.wait("the new topic is read", 30*time.Second, counted(500))
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = w.start(w.instructed(), hop).waitUp()
	w.produce(in, toyPartitions, 100, 10, "c")
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(600, 10))
}

func TestDriverObeys(t *testing.T) {
	for seed := range uint64(50) {
		hop := Hop{
			Name: "count", Inputs: []string{"in"}, Outputs: []Topic{{"counts", 1, Queue}},
			Changelog: Topic{"log", 1, Compact},
			NewTask: func(i TaskInfo) (Task, error) {
				return &witness{info: i, out: "counts", instructions: "instructions"}, nil
			},
		}
		d := NewDriver([]Hop{hop}, 2, seed)
		d.Aborts, d.Crashes, d.Poll = 0.3, 0.2, 7
		d.Instructions, d.Codec = "instructions", plainCodec{}
		for i := range 60 {
			value := "a"
			if i == 30 {
				value = "tell0"
			}
			if err := d.Feed("in", int32(i%2), []byte("k"), []byte(value), 0); err != nil {
				t.Fatal(err)
			}
		}
		d.Instruct(&Instruction{ID: "here", Kind: "note", At: map[int32]int64{0: 11, 1: 30}})
		d.Instruct(&Instruction{ID: "unknown", Kind: "unknown"})
		d.Instruct(&Instruction{ID: "again", Kind: KindSkip, Topic: "in", At: map[int32]int64{0: 0}})
		if err := d.Run(); err != nil {
			t.Fatal(err)
		}
		got := map[string]uint64{}
		for _, m := range d.Log("counts")[0] {
			if _, twice := got[string(m.Key)]; twice {
				t.Errorf("seed %d: %s obeyed twice", seed, m.Key)
			}
			got[string(m.Key)] = binary.BigEndian.Uint64(m.Value)
		}
		if got["here in/0"] != 11 || got["here in/1"] != 30 || len(got) != 4 {
			t.Errorf("seed %d: %v", seed, got)
		}
	}
}

func TestSelfCheckForms(t *testing.T) {
	for _, m := range []mark{{}, {ahead: []int64{3}}, {below: 7}, {below: 1 << 40, ahead: []int64{1<<40 + 2, 1<<40 + 5}}} {
		want := selfCheck{Next: 5, Epoch: 3, Count: 4, TopicID: [16]byte{1}, Mark: m, Stamp: "a.b.1"}
		b := want.append(nil)
		got, err := parseSelfCheck(b)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
		if plain := b[0] == selfCheckPlain; plain != (m.below == 0 && m.ahead == nil) {
			t.Errorf("form %d for %v", b[0], m)
		}
		for n := range len(b) - len(want.Stamp) {
			if _, err := parseSelfCheck(b[:n]); err == nil {
				t.Errorf("%d of %d bytes pass", n, len(b))
			}
		}
	}
}
