package run

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// Processes of a generation end when the next one begins, those that start later
// too; a skip is over with its generation, other instructions are not.
func TestARebuildEndsTheGeneration(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	w.produce(in, toyPartitions, 100, 10, "a")
	all := map[int32]int64{}
	for p := range int32(toyPartitions) {
		all[p] = w.end(in, p)
	}
	w.instruct(Instruction{ID: "old", Kind: "note"})
	w.instruct(Instruction{Kind: KindSkip, Topic: in, At: all})
	r := w.start(w.instructed(), w.witnessHop(in)).waitUp()
	r.waitIdle(20 * time.Second)
	w.instruct(Instruction{Kind: KindRebuild, Body: []byte("2")})
	if err := <-r.done; !errors.Is(err, ErrGeneration) {
		t.Fatalf("the process ended with %v", err)
	}
	r.done <- nil
	late := w.start(w.instructed(), w.witnessHop(in))
	if err := <-late.done; !errors.Is(err, ErrGeneration) {
		t.Fatalf("one that started later ended with %v", err)
	}
	late.done <- nil
	p, err := ProgressTo(t.Context(), w.config(), "count", Marks{in: all})
	if err != nil || p.Left != 0 {
		t.Errorf("the old generation: %+v, %v", p, err)
	}

	next := w.instructed()
	next.Prefix, next.Generation = w.name+".g2", 2
	hop := w.witnessHop(in)
	hop.Changelog.Name += ".g2"
	r = w.start(next, hop).waitUp()
	r.waitIdle(20 * time.Second)
	w.wait("it has read all", 20*time.Second, func() bool {
		p, err := ProgressTo(t.Context(), next, "count", Marks{in: all})
		return err == nil && p.Left == 0 && p.Members == 1
	})
	n := int64(0)
	for _, h := range r.tr.Status().Hops {
		for _, task := range h.Tasks {
			n += task.Records
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if n != 100 {
		t.Errorf("the new generation took %d records, want 100: it must not skip", n)
	}
	for key, notes := range w.notes() {
		if strings.HasPrefix(key, "old ") && len(notes) != 2 {
			t.Errorf("%s: obeyed %d times, want once in each generation", key, len(notes))
		}
	}
}

// Where all was forgotten, old skips do not take tasks past what they must read.
func TestForgottenTasksDoNotSkip(t *testing.T) {
	w, _ := newFake(t)
	in := w.create("in", toyPartitions)
	w.produce(in, toyPartitions, 100, 10, "a")
	w.instruct(Instruction{Kind: KindSkip, Topic: in, At: w.ends(in)})
	w.instruct(Instruction{Kind: KindForgotten, Hop: "rebuild", Body: []byte("1")})
	r := w.start(w.instructed(), w.countHop(in, nil)).waitUp()
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(100, 10))
}

// A task that has never run begins with the state that was written for it.
func TestSeededStateIsRestored(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	hop := w.countHop(w.topic("relayed"), nil)
	cfg := w.instructed()
	w.instruct(Instruction{Kind: "before"})
	other, err := NewSeeder(t.Context(), cfg, hop)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSeeder(t.Context(), cfg, hop)
	if err != nil {
		t.Fatal(err)
	}
	part := PartitionOf([]byte("k0"), toyPartitions)
	s.Put(t.Context(), part, []byte("k0"), binary.BigEndian.AppendUint64(nil, 1))
	s.Put(t.Context(), part, []byte("k0"), binary.BigEndian.AppendUint64(nil, 41))
	if err := s.Commit(t.Context(), Instruction{ID: "seeded", Kind: "seeded"}); err != nil {
		t.Fatal(err)
	}
	other.Put(t.Context(), part, []byte("k0"), binary.BigEndian.AppendUint64(nil, 99))
	if err := other.Commit(t.Context(), Instruction{ID: "late", Kind: "seeded"}); err == nil {
		t.Error("of two that seed, both succeed")
	}
	third, err := NewSeeder(t.Context(), cfg, hop)
	if err != nil {
		t.Fatal(err)
	}
	third.Put(t.Context(), part, []byte("k0"), binary.BigEndian.AppendUint64(nil, 99))
	if err := third.Abandon(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all, err := Instructions(t.Context(), cfg); err != nil || len(all) != 2 || all[1].ID != "seeded" {
		t.Errorf("instructions: %+v, %v", all, err)
	}
	r := w.start(cfg, w.relayHop(in), hop).waitUp()
	w.produce(in, toyPartitions, 1, 1, "a")
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	recs := w.readAll(w.topic("counts"))
	if len(recs) != 1 || binary.BigEndian.Uint64(recs[0].Value) != 42 {
		t.Errorf("%d outputs, want one with the count 42", len(recs))
	}
	var read []string
	if err := ReadAll(t.Context(), w.config(), []string{w.topic("counts"), w.topic("absent")}, func(m *Message) error {
		read = append(read, string(m.Key))
		return nil
	}); err != nil || !slices.Equal(read, []string{"k0"}) {
		t.Errorf("read %v, %v", read, err)
	}
}

// Whoever asks the broker can tell that a task has work of its own left, and
// that it has none any more.
func TestDeferredWorkShowsInTheGroup(t *testing.T) {
	w, _ := newFake(t)
	in := w.create("in", toyPartitions)
	cfg := w.config()
	cfg.AdvanceBudget = 50
	hold := make(chan struct{})
	taken := 0
	r := w.start(cfg, w.spreadHop(in, func() {
		if taken++; taken == 12 {
			<-hold
		}
	})).waitUp()
	w.produce(in, toyPartitions, 8, 8, "a")
	ends := Marks{in: w.ends(in)}
	w.wait("deferred work shows", 20*time.Second, func() bool {
		p, err := ProgressTo(t.Context(), cfg, "count", ends)
		return err == nil && p.Left == 0 && p.Deferred > 0
	})
	close(hold)
	w.wait("it is done", 30*time.Second, func() bool {
		p, err := ProgressTo(t.Context(), cfg, "count", ends)
		return err == nil && p.Left == 0 && p.Deferred == 0
	})
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), spreadTotals(8))
}

// What a process has left open when it was frozen cannot be committed later.
func TestFenceEndsWhatIsOpen(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	w.produce(in, toyPartitions, 100, 10, "a")
	cfg := w.config()
	frozen, thaw := make(chan struct{}), make(chan struct{})
	cfg.Crash = func(point string) error {
		if point != CrashBeforeEnd {
			return nil
		}
		select {
		case <-frozen:
		default:
			close(frozen)
		}
		<-thaw
		return nil
	}
	r := w.start(cfg, w.countHop(in, nil))
	<-frozen
	r.cancel()
	if err := Fence(t.Context(), w.config(), []string{"count"}); err != nil {
		t.Fatal(err)
	}
	if err := Fence(t.Context(), w.config(), []string{"never"}); err != nil {
		t.Fatal(err)
	}
	close(thaw)
	<-r.done
	r.done <- nil
	if recs := w.readAll(w.topic("counts")); len(recs) != 0 {
		t.Errorf("%d records were committed behind the fence", len(recs))
	}
}
