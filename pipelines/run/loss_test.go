package run

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"syncline/schemas/change"
)

// deleteBelow deletes the records of a partition below an offset, as retention
// or a human would.
func (w *world) deleteBelow(topic string, partition int32, offset int64) {
	w.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, partition, offset, -1)
	results, err := w.admin.DeleteRecords(w.t.Context(), offsets)
	if err == nil {
		err = results.Error()
	}
	if err != nil {
		w.t.Fatalf("deleting records of %s/%d: %v", topic, partition, err)
	}
}

// remake deletes a topic and creates it again.
func (w *world) remake(name string, partitions int32) {
	w.t.Helper()
	full := w.topic(name)
	old, err := describeTopics(w.t.Context(), w.admin, []string{full})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.admin.DeleteTopics(w.t.Context(), full); err != nil {
		w.t.Fatal(err)
	}
	w.wait("the topic is deleted and there again", 20*time.Second, func() bool {
		r, err := w.admin.CreateTopic(w.t.Context(), partitions, 1, nil, full)
		return err == nil && r.Err == nil
	})
	w.wait("the broker's metadata has the new topic", 20*time.Second, func() bool {
		now, err := describeTopics(w.t.Context(), w.admin, []string{full})
		return err == nil && old[full].other(now[full])
	})
	w.cl.PurgeTopicsFromProducing(full) // it would stay with the old topic
}

func (w *world) end(topic string, partition int32) int64 {
	w.t.Helper()
	ends, err := w.admin.ListEndOffsets(w.t.Context(), topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, partition)
	return end.Offset
}

// stopsAlone waits until the task of a partition has stopped for a reason, holds
// its message against what must be in it, and sees the others work.
func (r *running) stopsAlone(topic string, partition int32, reason string, says ...string) {
	r.w.t.Helper()
	status := r.waitState(topic, partition, "stopped")
	if status.Reason != reason {
		r.w.t.Errorf("reason %s, want %s", status.Reason, reason)
	}
	for _, want := range says {
		if !strings.Contains(status.Message, want) {
			r.w.t.Errorf("the message lacks %q: %s", want, status.Message)
		}
	}
	r.w.produce(topic, toyPartitions, 100, 10, "more")
	r.w.wait("the others go on", 20*time.Second, func() bool {
		for p := range int32(toyPartitions) {
			if s, _ := r.task(topic, p); p != partition && (s.State != "running" || s.Lag != 0) {
				return false
			}
		}
		return true
	})
}

// What was deleted before it was read stops its task, not the others: at a
// restart, and while running.
func TestDeletedRecordsStopTheirTask(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	hop := w.countHop(in, nil)
	r := w.start(w.config(), hop).waitUp()
	w.produce(in, toyPartitions, 100, 10, "a")
	r.waitIdle(20 * time.Second)
	if e := ExaminePositions(t.Context(), w.config(), map[string][]string{"count": {in}}); len(e) != 1 || !e[0].OK {
		t.Errorf("the examination says %+v", e)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	part := PartitionOf([]byte("k0"), toyPartitions)
	at := w.end(in, part)
	w.produce(in, toyPartitions, 100, 10, "b")
	end := w.end(in, part)
	w.deleteBelow(in, part, at+1)
	skip := fmt.Sprintf("`syncline feeds skip %s %d %d`", in, part, at+1)
	if e := ExaminePositions(t.Context(), w.config(), map[string][]string{"count": {in}, "never run": {in}}); len(e) != 1 || e[0].OK || !strings.Contains(e[0].Found, skip) {
		t.Errorf("the examination says %+v", e)
	}
	r = w.start(w.config(), hop).waitUp()
	r.stopsAlone(in, part, lossBelowStart,
		fmt.Sprintf("goes on at offset %d", at), fmt.Sprintf("offsets %d to %d", at+1, end), skip)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestDeletedRecordsStopARunningTask(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	part := PartitionOf([]byte("k0"), toyPartitions)
	// A record that waits keeps its task at it.
	r := w.start(w.config(), w.countHop(in, func(m *Message) change.Verdict {
		if string(m.Value) == "wait0" {
			return change.Waiting("test.wait", nil)
		}
		return change.Verdict{}
	})).waitUp()
	w.produce(in, toyPartitions, 100, 10, "a")
	r.waitIdle(20 * time.Second)
	at := w.end(in, part)
	w.produce(in, toyPartitions, 1, 1, "wait")
	r.waitState(in, part, "waiting")
	w.produce(in, toyPartitions, 100, 10, "b")
	w.deleteBelow(in, part, w.end(in, part)-1)
	r.stopsAlone(in, part, lossBelowStart, fmt.Sprintf("goes on at offset %d", at), "`syncline feeds skip "+in)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

// A topic that was deleted and created again stops its tasks, whether the new
// one is longer or shorter than the old, at a restart and while running.
func TestRemadeTopicStopsItsTasks(t *testing.T) {
	for _, while := range []string{"stopped", "running"} {
		t.Run(while, func(t *testing.T) {
			w := newWorld(t)
			in, other := w.create("in", toyPartitions), w.create("other", toyPartitions)
			hop := w.countHop(in, nil)
			hop.Inputs = append(hop.Inputs, other)
			r := w.start(w.config(), hop).waitUp()
			w.produce(in, toyPartitions, 100, 10, "a")
			r.waitIdle(20 * time.Second)
			part := PartitionOf([]byte("k0"), toyPartitions)
			at := w.end(in, part)
			if while == "stopped" {
				if err := r.stop(); err != nil {
					t.Fatal(err)
				}
			}
			w.remake("in", toyPartitions)
			w.produce(in, toyPartitions, 300, 10, "b")
			if while == "stopped" {
				r = w.start(w.config(), hop).waitUp()
			}
			end := w.end(in, part)
			w.wait("the tasks of the new topic stop", 30*time.Second, func() bool {
				s, _ := r.task(in, part)
				return s.State == "stopped" && strings.Contains(s.Message, fmt.Sprintf("offsets 0 to %d", end))
			})
			s, _ := r.task(in, part)
			for _, want := range []string{fmt.Sprintf("goes on at offset %d", at), "deleted and created again", fmt.Sprintf("`syncline feeds skip %s %d 0`", in, part)} {
				if s.Reason != lossRecreated || !strings.Contains(s.Message, want) {
					t.Errorf("reason %s, the message lacks %q: %s", s.Reason, want, s.Message)
				}
			}
			w.produce(other, toyPartitions, 100, 10, "c")
			w.wait("the tasks of the other topic go on", 20*time.Second, func() bool {
				n := int64(0)
				for p := range int32(toyPartitions) {
					s, _ := r.task(other, p)
					n += s.Records
				}
				return n == 100
			})
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// forgetful is a broker that forgets the offsets of a partition without records
// when it restarts, as the embedded one did.
func forgetful(t *testing.T) (w *world, restart func()) {
	t.Helper()
	dir := t.TempDir()
	var c *kfake.Cluster
	begin := func(port int) {
		var err error
		if c, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir), kfake.Ports(port), kfake.GroupMinSessionTimeout(100*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
	begin(0)
	t.Cleanup(func() { c.Close() })
	w = newWorldAt(t, c.ListenAddrs()[0])
	return w, func() {
		var port int
		if _, err := fmt.Sscanf(c.ListenAddrs()[0][strings.LastIndex(c.ListenAddrs()[0], ":"):], ":%d", &port); err != nil {
			t.Fatal(err)
		}
		c.Close()
		begin(port)
	}
}

// A queue that lies at 0 again after a restart has lost nothing: its reader
// begins there, and a crash right after it finds its place too.
func TestQueueThatWasForgottenBeginsAnew(t *testing.T) {
	w, restart := forgetful(t)
	in := w.create("in", toyPartitions)
	hops := []Hop{w.relayHop(in), w.countHop(w.topic("relayed"), nil)}
	r := w.start(w.config(), hops...).waitUp()
	w.produce(in, toyPartitions, 100, 10, "a")
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	for p := range int32(toyPartitions) {
		w.deleteBelow(w.topic("relayed"), p, -1)
	}
	restart()
	if end := w.end(w.topic("relayed"), PartitionOf([]byte("k0"), toyPartitions)); end != 0 {
		t.Fatalf("the queue ends at %d, so the broker has not forgotten it and the test shows nothing", end)
	}
	r = w.start(w.config(), hops...).waitUp()
	w.produce(in, toyPartitions, 100, 10, "b")
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = w.start(w.config(), hops...).waitUp()
	w.produce(in, toyPartitions, 100, 10, "c")
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(300, 10))
}

// A source topic, and a queue with records that nobody has read, stop.
func TestForgottenPartitionsWithRecordsStop(t *testing.T) {
	w, restart := forgetful(t)
	in := w.create("in", toyPartitions)
	relay, count := w.relayHop(in), w.countHop(w.topic("relayed"), nil)
	r := w.start(w.config(), relay, count).waitUp()
	w.produce(in, toyPartitions, 100, 10, "a")
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	part := PartitionOf([]byte("k0"), toyPartitions)
	at := w.end(in, part)
	w.deleteBelow(w.topic("relayed"), part, -1)
	w.deleteBelow(in, part, -1)
	restart()
	queued := w.end(w.topic("relayed"), part)
	w.produce(w.topic("relayed"), toyPartitions, 1, 1, "unread")
	r = w.start(w.config(), relay, count).waitUp()
	r.stopsAlone(in, part, lossBeyondEnd, fmt.Sprintf("goes on at offset %d", at), "offsets 0 to 0", fmt.Sprintf("`syncline feeds skip %s %d 0`", in, part))
	s := r.waitState(w.topic("relayed"), part, "stopped")
	if queued != 0 || s.Reason != lossBeyondEnd || !strings.Contains(s.Message, "`syncline rebuild all`") {
		t.Errorf("the queue, at %d after the restart: %s: %s", queued, s.Reason, s.Message)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

// A queue whose first records were consumed by a state that is gone.
func TestQueueWithoutStateStops(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	count := w.countHop(w.topic("relayed"), nil)
	r := w.start(w.config(), w.relayHop(in), count).waitUp()
	w.produce(in, toyPartitions, 100, 10, "a")
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	part := PartitionOf([]byte("k0"), toyPartitions)
	w.deleteBelow(w.topic("relayed"), part, 1)
	count.Name, count.Changelog.Name = "another", w.topic("another-changelog")
	r = w.start(w.config(), w.relayHop(in), count).waitUp()
	s := r.waitState(w.topic("relayed"), part, "stopped")
	if s.Reason != lossBelowStart || !strings.Contains(s.Message, "has no position") || !strings.Contains(s.Message, "`syncline rebuild all`") {
		t.Errorf("%s: %s", s.Reason, s.Message)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestBoundsAgainstPositions(t *testing.T) {
	id := partitionID{"t", 0}
	for name, c := range map[string]struct {
		b    bounds
		next int64
		want string
	}{
		"inside":                      {bounds{0, 10, -1}, 5, ""},
		"at the end":                  {bounds{10, 10, 10}, 10, ""},
		"at the start":                {bounds{5, 10, 10}, 5, ""},
		"no position":                 {bounds{5, 10, -1}, -1, ""},
		"beyond the end":              {bounds{0, 10, -1}, 11, lossBeyondEnd},
		"emptied and at 0 again":      {bounds{0, 0, -1}, 11, lossBeyondEnd},
		"below the start":             {bounds{6, 10, -1}, 5, lossBelowStart},
		"cut off and grown again":     {bounds{0, 10, 4}, 5, lossTruncated},
		"a later epoch began at next": {bounds{0, 10, 5}, 5, ""},
	} {
		got := ""
		if l := c.b.against(id, c.next); l != nil {
			got = l.reason
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// What a sink's target holds and what the topic holds must join, or the topic's
// line stops alone.
func TestDeliverStopsWhereTargetAndTopicPart(t *testing.T) {
	for name, c := range map[string]struct {
		part func(w *world, l *ledger, topic string) // while the sink is down
		want string
	}{
		"records deleted before they were delivered": {func(w *world, _ *ledger, topic string) {
			w.produce(topic, 1, 10, 10, "b")
			w.deleteBelow(topic, 0, 105)
		}, "offset 100, but records from there on were deleted"},
		"the target is ahead of the topic": {func(_ *world, l *ledger, topic string) {
			l.next[topic][0] = 120
		}, "offset 120, but the partition ends before that"},
		"topic made anew, and longer than before": {func(w *world, _ *ledger, _ string) {
			w.remake("canon", 1)
			w.produce(w.topic("canon"), 1, 150, 10, "b")
		}, "deleted and created again"},
		"an emptied target, and a topic without its beginning": {func(w *world, l *ledger, topic string) {
			delete(l.next, topic)
			w.deleteBelow(topic, 0, 1)
		}, "has no position, but records"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			canon, other := w.create("canon", 1), w.create("other", 1)
			w.produce(canon, 1, 100, 10, "a")
			l := newLedger()
			r := w.deliver(l, nil, canon, other)
			r.waitIdle(20 * time.Second)
			r.stop()
			c.part(w, l, canon)
			r = w.deliver(l, nil, canon, other)
			r.stopsLine(canon, c.want, "`syncline rebuild all`")
			w.produce(other, 1, 10, 10, "c")
			w.wait("the other topic is delivered", 20*time.Second, func() bool { return l.count() == 110 })
			r.stop()
		})
	}
}

func TestDeliverStopsWhenATopicIsMadeAnewMeanwhile(t *testing.T) {
	w := newWorld(t)
	canon, other := w.create("canon", 1), w.create("other", 1)
	w.produce(canon, 1, 100, 10, "a")
	l := newLedger()
	r := w.deliver(l, nil, canon, other)
	r.waitIdle(20 * time.Second)
	w.remake("canon", 1)
	w.produce(canon, 1, 150, 10, "b")
	r.stopsLine(canon, "created again")
	w.produce(other, 1, 10, 10, "c")
	w.wait("the other topic is delivered", 20*time.Second, func() bool { return l.count() == 110 })
	r.stop()
}

func (r *delivering) stopsLine(topic string, says ...string) {
	r.w.t.Helper()
	line := func() (s LineStatus) {
		for _, s = range r.d.Status().Lines {
			if s.Topic == topic {
				break
			}
		}
		return s
	}
	r.w.wait("the line stops", 20*time.Second, func() bool { return line().State == "stopped" })
	for _, want := range says {
		if !strings.Contains(line().Message, want) {
			r.w.t.Errorf("the message lacks %q: %s", want, line().Message)
		}
	}
}
