package run

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestChangelogKeysComeApart(t *testing.T) {
	id := partitionID{"cdc.crm.party", 12}
	for _, key := range [][]byte{nil, {0}, []byte("k"), []byte("\x00o"), []byte(strings.Repeat("x", 300))} {
		name, got, check, err := splitKey(append(keyPrefix(id), key...))
		if err != nil || check || string(name) != "cdc.crm.party/12" || string(got) != string(key) {
			t.Errorf("key %q: %q %q %v %v", key, name, got, check, err)
		}
	}
	if name, _, check, err := splitKey(checkKey(id)); err != nil || !check || string(name) != "cdc.crm.party/12" {
		t.Errorf("check key: %q %v %v", name, check, err)
	}
	for _, bad := range [][]byte{nil, {0}, {0, 'x', 'y'}, {5, 'a'}, {0xff, 0xff}} {
		if _, _, _, err := splitKey(bad); err == nil {
			t.Errorf("key %x was taken", bad)
		}
	}
}

func TestSelfCheckRecord(t *testing.T) {
	want := selfCheck{Next: 1 << 40, Epoch: -1, Count: 9, TopicID: [16]byte{1, 15: 2}, Stamp: "a.b.c"}
	b := want.append(nil)
	got, err := parseSelfCheck(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(mark{})); diff != "" {
		t.Error(diff)
	}
	for n := range len(b) - len(want.Stamp) {
		if _, err := parseSelfCheck(b[:n]); err == nil {
			t.Errorf("%d bytes of %d were taken", n, len(b))
		}
	}
}

func TestCheckRestored(t *testing.T) {
	id, topic := partitionID{"in", 1}, topicMeta{count: 4, id: [16]byte{7}}
	record := &selfCheck{Next: 10, Count: 4, TopicID: [16]byte{7}, Stamp: "s"}
	none := position{next: -1}
	for name, c := range map[string]struct {
		group  position
		record *selfCheck
		topic  topicMeta
		next   int64
		wrong  string
	}{
		"fresh":                     {none, nil, topic, -1, ""},
		"equal":                     {position{10, "s"}, record, topic, 10, ""},
		"group offset expired":      {none, record, topic, 10, ""},
		"changelog lost":            {position{10, "s"}, nil, topic, 0, "no state of this task"},
		"state behind":              {position{11, "t"}, record, topic, 0, "not of one transaction"},
		"same offset, other commit": {position{10, "t"}, record, topic, 0, "not of one transaction"},
		"count changed":             {position{10, "s"}, record, topicMeta{count: 5, id: topic.id}, 0, "4 partitions when this state began and has 5"},
		"topic recreated":           {position{10, "s"}, record, topicMeta{count: 4, id: [16]byte{8}}, 0, "created again"},
		"broker without topic ids":  {position{10, "s"}, record, topicMeta{count: 4}, 10, ""},
	} {
		got, err := checkRestored(id, c.group, c.record, c.topic)
		if c.wrong == "" && (err != nil || got.next != c.next) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s: error %v, want %q", name, err, c.wrong)
		}
	}
}

// The offsets are stable and name the last transaction, but its marker has not
// reached the changelog yet: the restore must wait for it and then have it.
func TestRestoreWaitsForTheLastTransactionsMarker(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", 1)
	hop := w.countHop(in, nil)
	hop.Changelog.Partitions = 1
	log := w.create("count-changelog", 1)
	w.produce(in, 1, 3, 1, "a")
	meta, err := describeTopics(t.Context(), w.admin, []string{in})
	if err != nil {
		t.Fatal(err)
	}
	// What the engine writes for three records of k0, in a transaction of ours.
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.brokers...), kgo.TransactionalID(w.name+".test"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	id := partitionID{in, 0}
	check := selfCheck{Next: 3, Epoch: -1, Count: 1, TopicID: meta[in].id, Stamp: "test"}
	if err := cl.ProduceSync(t.Context(),
		&kgo.Record{Topic: log, Key: append(keyPrefix(id), "k0"...), Value: binary.BigEndian.AppendUint64(nil, 3)},
		&kgo.Record{Topic: log, Key: checkKey(id), Value: check.append(nil)},
	).FirstErr(); err != nil {
		t.Fatal(err)
	}
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: in, Partition: 0, At: 3, LeaderEpoch: -1, Metadata: "test"})
	if err := w.admin.CommitAllOffsets(t.Context(), w.name+".count", offsets); err != nil {
		t.Fatal(err)
	}
	r := w.start(w.config(), hop).waitUp()
	r.waitState(in, 0, "restoring")
	select {
	case err := <-r.done:
		t.Fatalf("ended: %v", err)
	case <-time.After(3 * time.Second): // longer than a restore that does not wait
	}
	if s, _ := r.task(in, 0); s.State != "restoring" {
		t.Fatalf("the task did not wait: %+v", s)
	}
	if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	r.waitState(in, 0, "running")
	w.produce(in, 1, 1, 1, "b")
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	recs := w.readAll(w.topic("counts"))
	if len(recs) != 1 || binary.BigEndian.Uint64(recs[0].Value) != 4 {
		t.Errorf("%d outputs, want one with the count 4", len(recs))
	}
}

func TestSelfCheckMismatchStopsLoudly(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	w.produce(in, toyPartitions, 100, 10, "a")
	r := w.start(w.config(), w.countHop(in, nil)).waitUp()
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	part := PartitionOf([]byte("k0"), toyPartitions)
	w.leave("count")
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: in, Partition: part, At: 1, LeaderEpoch: -1})
	if err := w.admin.CommitAllOffsets(t.Context(), w.name+".count", offsets); err != nil {
		t.Fatal(err)
	}
	r = w.start(w.config(), w.countHop(in, nil)).waitUp()
	status := r.waitState(in, part, "stopped")
	if !strings.Contains(status.Message, "not of one transaction") || !strings.Contains(status.Message, "set them back to") {
		t.Errorf("status: %+v", status)
	}
	w.produce(in, toyPartitions, 100, 10, "b")
	w.wait("the others go on", 10*time.Second, func() bool {
		for p := range int32(toyPartitions) {
			if s, _ := r.task(in, p); p != part && (s.State != "running" || s.Lag != 0) {
				return false
			}
		}
		return true
	})
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

// leave takes the (dead) static members out of a group, as the broker refuses
// offsets by hand while there are members.
func (w *world) leave(hop string) {
	w.t.Helper()
	b := kadm.LeaveGroup(w.name + "." + hop).InstanceIDs(w.name + "." + hop + ".0")
	if _, err := w.admin.LeaveGroup(w.t.Context(), b); err != nil {
		w.t.Fatal(err)
	}
}

func TestExpiredGroupOffsetsAreTakenFromTheChangelog(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	w.produce(in, toyPartitions, 100, 10, "a")
	r := w.start(w.config(), w.countHop(in, nil)).waitUp()
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.leave("count")
	if _, err := w.admin.DeleteGroup(context.WithoutCancel(t.Context()), w.name+".count"); err != nil {
		t.Fatal(err)
	}
	w.produce(in, toyPartitions, 100, 10, "b")
	r = w.start(w.config(), w.countHop(in, nil)).waitUp()
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(200, 10))
}

// Tombstones and overwritten values must be gone after compaction and restore.
func TestRestoreAfterCompaction(t *testing.T) {
	w, c := newFake(t)
	in := w.create("in", toyPartitions)
	hops := []Hop{w.relayHop(in), w.countHop(w.topic("relayed"), nil)}
	for range 4 {
		r := w.start(w.config(), hops...).waitUp()
		w.produce(in, toyPartitions, 200, 20, "x")
		r.waitIdle(20 * time.Second)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		c.Compact()
	}
	w.checkTotals(w.topic("counts"), totals(800, 20))
}

func TestNothingBetweenIsProven(t *testing.T) {
	w := newWorld(t)
	topic := w.create("log", 1)
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.brokers...), kgo.TransactionalID(w.name+".test"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ask := func(at, end int64) bool {
		t.Helper()
		empty, err := nothingBetween(t.Context(), w.cl, topic, 0, at, end)
		if err != nil {
			t.Fatal(err)
		}
		return empty
	}
	begin := func(n int) {
		t.Helper()
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for range n {
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("v")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	begin(2)
	if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil { // 0, 1, marker 2
		t.Fatal(err)
	}
	w.wait("the marker is there", 10*time.Second, func() bool {
		ends, err := w.admin.ListEndOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		end, _ := ends.Lookup(topic, 0)
		return end.Offset == 3
	})
	w.wait("all is decided", 10*time.Second, func() bool { return ask(3, 3) })
	for at := range int64(3) {
		if ask(at, 3) {
			t.Errorf("nothing from %d on, though there is", at)
		}
	}
	begin(1) // 3, undecided
	if ask(4, 4) {
		t.Error("an open transaction counts as decided")
	}
	if hasRecords(nil) || !hasRecords([]byte{1}) {
		t.Error("empty and unreadable batches are mistaken")
	}
}
