package run

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"syncline/schemas/change"
)

func (r *running) task(topic string, partition int32) (TaskStatus, bool) {
	for _, h := range r.tr.Status().Hops {
		for _, task := range h.Tasks {
			if task.Topic == topic && task.Partition == partition {
				return task, true
			}
		}
	}
	return TaskStatus{}, false
}

func (r *running) waitState(topic string, partition int32, state string) TaskStatus {
	r.w.t.Helper()
	var last TaskStatus
	r.w.wait("task "+topic+" is "+state, 20*time.Second, func() bool {
		last, _ = r.task(topic, partition)
		return last.State == state
	})
	return last
}

func TestWaitingRecordHoldsItsPartitionOnly(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	var open atomic.Bool
	var waited atomic.Int64
	r := w.start(w.config(), w.countHop(in, func(m *Message) change.Verdict {
		if string(m.Value) == "b3" && !open.Load() {
			waited.Store(int64(m.Waited))
			return change.Waiting("schema.unknown", errors.New("schema 7 is not known"))
		}
		return change.Verdict{}
	})).waitUp()
	w.produce(in, toyPartitions, 100, 10, "a")
	w.produce(in, toyPartitions, 100, 10, "b")
	held := PartitionOf([]byte("k3"), toyPartitions)
	status := r.waitState(in, held, "waiting")
	if status.Reason != "schema.unknown" || !strings.Contains(status.Message, "schema 7") || status.Since.IsZero() {
		t.Errorf("status of the waiting task: %+v", status)
	}
	w.wait("the record is asked again", 10*time.Second, func() bool { return waited.Load() > 0 })
	// k3's partition stands after the a records, before b3; the others are through.
	w.wait("the others are through", 10*time.Second, func() bool {
		for p := range int32(toyPartitions) {
			if s, _ := r.task(in, p); p != held && s.Lag != 0 {
				return false
			}
		}
		return true
	})
	for _, rec := range w.readAll(w.topic("counts")) {
		if n := binary.BigEndian.Uint64(rec.Value); string(rec.Key) == "k3" && n > 10 {
			t.Fatalf("k3 was counted to %d beyond the waiting record", n)
		}
	}
	open.Store(true)
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(200, 10))
}

func letterConfig(w *world, cfg Config) Config {
	cfg.LetterTopic = Topic{Name: w.topic("letters"), Partitions: 1, Cleanup: Compact}
	cfg.EncodeLetter = func(l change.Letter) (string, []byte, []byte, []byte, error) {
		if string(l.Value) == "unspeakable" {
			return "", nil, nil, nil, errors.New("no words")
		}
		return w.topic("letters"), l.Key, append([]byte(l.Topic), l.Key...), []byte(l.Hop + "|" + l.Reason + "|" + l.Message + "|" + string(l.Value)), nil
	}
	return cfg
}

func TestLetterIsPartOfTheTransaction(t *testing.T) {
	w, c := newFake(t)
	in := w.create("in", toyPartitions)
	var judged atomic.Int64
	r := w.start(letterConfig(w, w.config()), w.countHop(in, func(m *Message) change.Verdict {
		if string(m.Value) == "poison" {
			judged.Add(1)
			return change.Parked("decode.truncated", errors.New("3 bytes are missing"))
		}
		return change.Verdict{}
	})).waitUp()
	r.waitIdle(20 * time.Second)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, TxnID: w.name + ".count.0", TopLevel: true, Err: kerr.UnknownServerError, Count: 2})
	key := []byte("k0")
	w.produceRecords(&kgo.Record{Topic: in, Partition: PartitionOf(key, toyPartitions), Key: key, Value: []byte("poison")})
	w.produce(in, toyPartitions, 100, 10, "a")
	r.waitIdle(20 * time.Second)
	status, _ := r.task(in, PartitionOf(key, toyPartitions))
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(100, 10))
	letters := w.readAll(w.topic("letters"))
	if len(letters) != 1 || string(letters[0].Value) != "count|decode.truncated|3 bytes are missing|poison" {
		t.Errorf("letters: %v, want one", letters)
	}
	if judged.Load() < 2 {
		t.Errorf("the record was judged %d times, so no transaction with its letter was aborted", judged.Load())
	}
	if all := w.read(w.topic("letters"), kgo.ReadUncommitted()); len(all) < 2 {
		t.Errorf("%d letters uncommitted, want the aborted ones too", len(all))
	}
	if status.Parked != 1 {
		t.Errorf("parked counter is %d, want 1", status.Parked)
	}
}

func TestLetterThatCannotBeWrittenStopsItsLine(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	cfg := letterConfig(w, w.config())
	cfg.FailWhenStopped = true
	r := w.start(cfg, w.countHop(in, func(m *Message) change.Verdict {
		if string(m.Value) == "unspeakable" {
			return change.Parked("decode.truncated", errors.New("bad"))
		}
		return change.Verdict{}
	})).waitUp()
	key := []byte("k0")
	w.produce(in, toyPartitions, 100, 10, "a")
	w.produceRecords(&kgo.Record{Topic: in, Partition: PartitionOf(key, toyPartitions), Key: key, Value: []byte("unspeakable")})
	w.produceRecords(&kgo.Record{Topic: in, Partition: PartitionOf(key, toyPartitions), Key: key, Value: []byte("behind")})
	status := r.waitState(in, PartitionOf(key, toyPartitions), "stopped")
	if status.Reason != "letter" || !strings.Contains(status.Message, "no words") {
		t.Errorf("status: %+v", status)
	}
	w.wait("all before it is counted", 10*time.Second, func() bool {
		n := 0
		for p := range int32(toyPartitions) {
			s, _ := r.task(in, p)
			n += int(s.Records)
		}
		return n == 100
	})
	if err := r.stop(); !errors.Is(err, ErrStopped) {
		t.Errorf("Run returned %v, want ErrStopped", err)
	}
	w.checkTotals(w.topic("counts"), totals(100, 10))
}

func TestStopVerdictCommitsWhatPrecedes(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	hook := func(m *Message) change.Verdict {
		if string(m.Value) == "stop" {
			return change.Stopped("source.restored", errors.New("positions fall while times rise"))
		}
		return change.Verdict{}
	}
	w.produce(in, toyPartitions, 100, 10, "a")
	key := []byte("k0")
	part := PartitionOf(key, toyPartitions)
	w.produceRecords(&kgo.Record{Topic: in, Partition: part, Key: key, Value: []byte("stop")})
	w.produce(in, toyPartitions, 100, 10, "b")
	r := w.start(w.config(), w.countHop(in, hook)).waitUp()
	status := r.waitState(in, part, "stopped")
	if status.Reason != "source.restored" || !strings.Contains(status.Message, "offset") {
		t.Errorf("status: %+v", status)
	}
	w.wait("the others are through", 10*time.Second, func() bool {
		for p := range int32(toyPartitions) {
			if s, _ := r.task(in, p); p != part && s.Lag != 0 {
				return false
			}
		}
		return true
	})
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	// With the obstacle gone it goes on where it stopped.
	r = w.start(w.config(), w.countHop(in, func(m *Message) change.Verdict {
		if string(m.Value) == "stop" {
			return change.Dropped("allowed")
		}
		return change.Verdict{}
	})).waitUp()
	r.waitIdle(20 * time.Second)
	status, _ = r.task(in, part)
	if status.Dropped["allowed"] != 1 {
		t.Errorf("dropped: %v", status.Dropped)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(200, 10))
}

func TestOversizedOutputStopsItsTaskAlone(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	cfg := w.config()
	cfg.MaxRecordBytes = 2048
	hop := w.countHop(in, nil)
	make1 := hop.NewTask
	hop.NewTask = func(i TaskInfo) (Task, error) {
		inner, err := make1(i)
		return &inflating{Task: inner, out: hop.Outputs[0].Name}, err
	}
	r := w.start(cfg, hop).waitUp()
	key := []byte("k0")
	part := PartitionOf(key, toyPartitions)
	w.produceRecords(&kgo.Record{Topic: in, Partition: part, Key: key, Value: []byte("inflate")})
	status := r.waitState(in, part, "stopped")
	if !strings.Contains(status.Message, "limit of 2048 bytes") {
		t.Errorf("status: %+v", status)
	}
	other := []byte("k1")
	for i := 1; PartitionOf(other, toyPartitions) == part; i++ {
		other = []byte("k" + string(rune('0'+i)))
	}
	w.produceRecords(&kgo.Record{Topic: in, Partition: PartitionOf(other, toyPartitions), Key: other, Value: []byte("a")})
	w.wait("the other key is counted", 10*time.Second, func() bool { return len(w.readAll(w.topic("counts"))) == 1 })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

type inflating struct {
	Task
	out string
}

func (i *inflating) Process(m *Message, out Emitter) change.Verdict {
	v := i.Task.Process(m, out)
	if string(m.Value) == "inflate" {
		out.Emit(i.out, []byte("k"), []byte("k"), make([]byte, 4096))
	}
	return v
}

func TestAbsentTopicIsReadWhenItAppears(t *testing.T) {
	w := newWorld(t)
	late := w.topic("late")
	r := w.start(w.config(), w.countHop(late, nil)).waitUp()
	w.wait("it is reported absent", 10*time.Second, func() bool {
		h := r.tr.Status().Hops
		return len(h) == 1 && len(h[0].Absent) == 1 && h[0].Absent[0] == late
	})
	w.create("late", toyPartitions)
	w.produce(late, toyPartitions, 100, 10, "a")
	w.wait("it is counted", 20*time.Second, func() bool {
		n := int64(0)
		for _, h := range r.tr.Status().Hops {
			for _, task := range h.Tasks {
				n += task.Records
			}
		}
		return n == 100
	})
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(100, 10))
}

func TestChangedPartitionCountStops(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	w.produce(in, toyPartitions, 100, 10, "a")
	r := w.start(w.config(), w.countHop(in, nil)).waitUp()
	r.waitIdle(20 * time.Second)
	if _, err := w.admin.CreatePartitions(t.Context(), 2, in); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-r.done:
		if err == nil || !strings.Contains(err.Error(), "had 4 partitions and has 6 now") {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the change went unseen")
	}
	// The count outlives the process: it is in the changelog.
	r = w.start(w.config(), w.countHop(in, nil)).waitUp()
	status := r.waitState(in, PartitionOf([]byte("k0"), toyPartitions), "stopped")
	if !strings.Contains(status.Message, "4 partitions when this state began and has 6 now") {
		t.Errorf("status: %+v", status)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestOwnedTopicOfAnotherCountIsRefused(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	w.create("counts", toyPartitions+1)
	tr, err := NewTransform(w.config(), []Hop{w.countHop(in, nil)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := tr.Run(ctx); err == nil || !strings.Contains(err.Error(), "has 5 partitions, the topology says 4") {
		t.Fatalf("Run: %v", err)
	}
}
