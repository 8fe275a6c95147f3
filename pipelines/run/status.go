package run

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Status is what a Transform shows of itself. All of it counts since the
// process started, but for the states of tasks.
type Status struct {
	TransactionVersion int16
	Hops               []HopStatus
}

// HopStatus is one hop in this process.
type HopStatus struct {
	Name      string
	Failed    string // why the hop ended, empty while it runs
	Absent    []string
	Committed int64 // transactions
	Aborted   int64
	Resolved  int64 // answers other than 'committed' that the broker's offsets showed to be commits
	EndP50    time.Duration
	EndP99    time.Duration
	Tasks     []TaskStatus // by topic and partition
}

// TaskStatus is one task. State is restoring, running, waiting or stopped.
type TaskStatus struct {
	Topic           string
	Partition       int32
	State           string
	Reason          string // of waiting or stopped
	Message         string
	Since           time.Time // of waiting or stopped
	Records         int64     // committed input records, of any verdict
	Bytes           int64
	Dropped         map[string]int64 // by reason
	Parked          int64
	Deferred        bool  // Advance has work left
	Next            int64 // committed next offset, -1 none
	Lag             int64 // records (with transaction markers) behind the end, -1 unknown
	Keys            int64 // of the committed state
	StateBytes      int64
	RestoredRecords int64
	RestoreTime     time.Duration
}

// tally counts within one transaction; it becomes part of taskStats only when
// that commits.
type tally struct {
	records, parked, bytes int
	dropped                []dropCount
}

type dropCount struct {
	reason string
	n      int64
}

func (t *tally) drop(reason string) {
	for i := range t.dropped {
		if t.dropped[i].reason == reason {
			t.dropped[i].n++
			return
		}
	}
	t.dropped = append(t.dropped, dropCount{reason, 1})
}

func (t *tally) clear() {
	t.records, t.parked, t.bytes = 0, 0, 0
	t.dropped = t.dropped[:0]
}

type taskStats struct {
	name                                partitionID
	records, parked, bytesIn            atomic.Int64
	committed, next, end                atomic.Int64
	keys, bytes                         atomic.Int64
	deferred                            atomic.Bool
	restoredRecords, restoreNanos       atomic.Int64
	mu                                  sync.Mutex
	dropped                             map[string]int64
	waitReason, waitMessage, stopReason string
	stopMessage                         string
	waitSince, stopSince                time.Time
}

func (s *taskStats) add(t *tally) {
	s.records.Add(int64(t.records))
	s.parked.Add(int64(t.parked))
	s.bytesIn.Add(int64(t.bytes))
	if len(t.dropped) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped == nil {
		s.dropped = map[string]int64{}
	}
	for _, d := range t.dropped {
		s.dropped[d.reason] += d.n
	}
}

func (s *taskStats) setWaiting(reason, message string, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waitReason, s.waitMessage, s.waitSince = reason, message, since
}

func (s *taskStats) setStopped(reason, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopReason, s.stopMessage, s.stopSince = reason, message, time.Now()
}

func (s *taskStats) hasStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.stopSince.IsZero()
}

func (s *taskStats) status() TaskStatus {
	out := TaskStatus{
		Topic: s.name.topic, Partition: s.name.partition, State: "running",
		Records: s.records.Load(), Bytes: s.bytesIn.Load(), Parked: s.parked.Load(), Deferred: s.deferred.Load(),
		Next: s.committed.Load(), Lag: -1, Keys: s.keys.Load(), StateBytes: s.bytes.Load(),
		RestoredRecords: s.restoredRecords.Load(), RestoreTime: time.Duration(s.restoreNanos.Load()),
	}
	if end := s.end.Load(); end >= 0 {
		out.Lag = max(end-max(s.next.Load(), 0), 0)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Dropped = maps.Clone(s.dropped)
	switch {
	case !s.stopSince.IsZero():
		out.State, out.Reason, out.Message, out.Since = "stopped", s.stopReason, s.stopMessage, s.stopSince
	case s.waitReason != "":
		out.State, out.Reason, out.Message, out.Since = "waiting", s.waitReason, s.waitMessage, s.waitSince
	}
	return out
}

// latencies keeps the last durations, for quantiles that cost nothing until
// they are asked for.
type latencies struct {
	mu   sync.Mutex
	ring [512]time.Duration
	n    int
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	l.ring[l.n%len(l.ring)] = d
	l.n++
	l.mu.Unlock()
}

func (l *latencies) quantiles() (p50, p99 time.Duration) {
	l.mu.Lock()
	have := slices.Clone(l.ring[:min(l.n, len(l.ring))])
	l.mu.Unlock()
	if len(have) == 0 {
		return 0, 0
	}
	slices.Sort(have)
	return have[len(have)/2], have[len(have)*99/100]
}

func (h *hop) status() HopStatus {
	out := HopStatus{
		Name: h.def.Name, Committed: h.committed.Load(), Aborted: h.aborted.Load(), Resolved: h.resolved.Load(),
	}
	out.EndP50, out.EndP99 = h.endTimes.quantiles()
	h.mu.Lock()
	if h.failure != nil {
		out.Failed = h.failure.Error()
	}
	for _, name := range h.def.Inputs {
		if _, ok := h.topics[name]; !ok {
			out.Absent = append(out.Absent, name)
		}
	}
	for _, t := range h.tasks {
		out.Tasks = append(out.Tasks, t.stats.status())
	}
	for id := range h.owned {
		if h.tasks[id] == nil {
			out.Tasks = append(out.Tasks, TaskStatus{Topic: id.topic, Partition: id.partition, State: "restoring", Next: -1, Lag: -1})
		}
	}
	h.mu.Unlock()
	slices.SortFunc(out.Tasks, func(a, b TaskStatus) int {
		if a.Topic != b.Topic {
			if a.Topic < b.Topic {
				return -1
			}
			return 1
		}
		return int(a.Partition - b.Partition)
	})
	return out
}
