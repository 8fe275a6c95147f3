package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/schemas/change"
)

// dispatch starts the writes that are due and says how long nothing else will
// be, and whether the buffers are full.
func (d *Deliver) dispatch(hard context.Context) (wait time.Duration, full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	wait = time.Second
	flying := 0
	for _, l := range d.lines {
		if l.inFlight != nil {
			flying++
		}
	}
	full = d.held >= d.cfg.MaxBufferedBytes/2
	due := make([]*line, 0, len(d.lines))
	for _, l := range d.lines {
		if l.rows == 0 || l.inFlight != nil || l.stopped != nil || l.lost != nil {
			continue
		}
		left := l.oldest.Add(d.cfg.FlushAfter).Sub(now)
		if l.rows >= d.cfg.FlushRows || l.bytes >= d.cfg.FlushBytes || full || left <= 0 {
			due = append(due, l)
			continue
		}
		wait = min(wait, left)
	}
	slices.SortFunc(due, func(a, b *line) int { return a.oldest.Compare(b.oldest) })
	for _, l := range due {
		if flying >= d.cfg.Concurrency {
			break // the end of a write wakes the loop
		}
		flying++
		f := d.cut(l)
		d.writing.Go(func() { d.write(hard, l, f) })
	}
	return wait, full
}

// cut makes the batch of all that is buffered of a topic. From here on it does
// not change until it is written.
func (d *Deliver) cut(l *line) *flight {
	f := &flight{batch: change.Batch{Topic: l.topic, TopicID: d.known[l.topic].id}, bytes: l.bytes, done: make(chan struct{}), owners: map[int32]*pendingPart{}}
	for number, part := range l.parts {
		if len(part.records) == 0 {
			continue
		}
		f.batch.Parts = append(f.batch.Parts, change.Part{Partition: number, First: part.from, Last: part.next - 1, Records: part.records})
		f.owners[number] = part
		part.from, part.records, part.bytes = part.next, nil, 0
	}
	slices.SortFunc(f.batch.Parts, func(a, b change.Part) int { return int(a.Partition - b.Partition) })
	l.rows, l.bytes, l.inFlight = 0, 0, f
	return f
}

// write repeats one batch until the target has it.
func (d *Deliver) write(ctx context.Context, l *line, f *flight) {
	defer d.wakeUp()
	rows := 0
	for i := range f.batch.Parts {
		rows += len(f.batch.Parts[i].Records)
	}
	for try := 0; ; try++ {
		start := time.Now()
		callCtx, cancel := context.WithTimeout(ctx, d.cfg.WriteTimeout)
		err := d.writer.Write(callCtx, f.batch)
		cancel()
		if err == nil {
			l.stats.wrote(rows, f.bytes, time.Since(start))
			d.landed(l, f)
			return
		}
		l.stats.failed("writing", err)
		if errors.Is(err, ErrPermanent) {
			d.mu.Lock()
			d.stopLine(l, fmt.Errorf("writing %s: %w", l.topic, err))
			d.ended(l, f)
			d.mu.Unlock()
			return
		}
		if errors.Is(err, change.ErrTargetLost) {
			d.mu.Lock()
			d.loseTarget(l, err)
			d.ended(l, f)
			d.mu.Unlock()
			return
		}
		d.log.Warn("write failed, trying again", "topic", l.topic, "rows", rows, "try", try+1, "error", err)
		if !pause(ctx, d.backoff(try)) {
			d.mu.Lock()
			d.ended(l, f)
			d.mu.Unlock()
			return
		}
	}
}

// ended gives the bytes of a batch back. d.mu is held.
func (d *Deliver) ended(l *line, f *flight) {
	d.held -= f.bytes
	l.inFlight = nil
	close(f.done)
}

// landed notes a written batch and tells the group, for lag displays.
func (d *Deliver) landed(l *line, f *flight) {
	offsets := map[int32]kgo.EpochOffset{}
	d.mu.Lock()
	for i := range f.batch.Parts {
		p := &f.batch.Parts[i]
		if l.parts[p.Partition] == f.owners[p.Partition] {
			offsets[p.Partition] = kgo.EpochOffset{Epoch: -1, Offset: p.Last + 1}
		}
	}
	d.ended(l, f)
	l.losses = 0
	d.mu.Unlock()
	if len(offsets) > 0 {
		d.cl.CommitOffsets(context.Background(), map[string]map[int32]kgo.EpochOffset{l.topic: offsets}, nil)
	}
}

// stopLine stops a topic loudly; the others go on. d.mu is held.
func (d *Deliver) stopLine(l *line, err error) {
	if l.stopped != nil {
		return
	}
	l.stopped = err
	l.stats.stop(err)
	d.forget(l)
	d.log.Error("delivery stopped", "topic", l.topic, "error", err)
}

// forget reads no more of a topic, and forgets what is buffered of it. d.mu is
// held.
func (d *Deliver) forget(l *line) {
	d.cl.PauseFetchTopics(l.topic)
	d.held -= l.bytes
	for _, part := range l.parts {
		part.records, part.bytes = nil, 0
	}
	l.rows, l.bytes = 0, 0
}

// DeliverStatus is what a Deliver shows of itself.
type DeliverStatus struct {
	HeldBytes int
	Lines     []LineStatus // by topic
}

// LineStatus is one topic. State is absent, running, failing or stopped.
type LineStatus struct {
	Topic         string
	State         string
	Message       string
	Since         time.Time // of failing and stopped
	Rows, Bytes   int64     // written
	Batches       int64
	Failures      int64
	Buffered      int // rows
	Lag           int64
	WriteP50, P99 time.Duration
}

type lineStats struct {
	mu                   sync.Mutex
	rows, bytes, batches int64
	failures             int64
	failing              string
	since                time.Time
	stopped              bool
	times                latencies
}

func (s *lineStats) wrote(rows, bytes int, took time.Duration) {
	s.times.add(took)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows += int64(rows)
	s.bytes += int64(bytes)
	s.batches++
	s.failing = ""
}

func (s *lineStats) failed(what string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures++
	if s.failing == "" {
		s.since = time.Now()
	}
	s.failing = what + ": " + err.Error()
}

func (s *lineStats) stop(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped, s.failing, s.since = true, err.Error(), time.Now()
}

// Status is safe to call at any time, from any goroutine. Lag counts records
// and transaction markers fetched ends lie ahead of what is written.
func (d *Deliver) Status() DeliverStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := DeliverStatus{HeldBytes: d.held}
	for name, l := range d.lines {
		s := LineStatus{Topic: name, State: "running", Buffered: l.rows}
		for _, part := range l.parts {
			at := part.next
			if len(part.records) > 0 {
				at = part.from
			}
			s.Lag += max(part.end-max(at, 0), 0)
		}
		if l.inFlight != nil {
			for i := range l.inFlight.batch.Parts {
				p := &l.inFlight.batch.Parts[i]
				s.Lag += p.Last - p.First + 1
			}
		}
		l.stats.mu.Lock()
		s.Rows, s.Bytes, s.Batches, s.Failures = l.stats.rows, l.stats.bytes, l.stats.batches, l.stats.failures
		switch {
		case l.stats.stopped:
			s.State, s.Message, s.Since = "stopped", l.stats.failing, l.stats.since
		case l.stats.failing != "":
			s.State, s.Message, s.Since = "failing", l.stats.failing, l.stats.since
		case d.known[name].count == 0:
			s.State = "absent"
		}
		l.stats.mu.Unlock()
		s.WriteP50, s.P99 = l.stats.times.quantiles()
		out.Lines = append(out.Lines, s)
	}
	slices.SortFunc(out.Lines, func(a, b LineStatus) int {
		if a.Topic < b.Topic {
			return -1
		}
		return 1
	})
	return out
}

// Behind asks the broker how many records (with transaction markers) the sinks
// of all processes have not written yet, over all topics that exist: others are
// the processes beside this one. A partition that nobody works on counts whole:
// the group's offset does not say what the target has.
func (d *Deliver) Behind(ctx context.Context, others []Process) (int64, error) {
	d.mu.Lock()
	admin := d.admin
	d.mu.Unlock()
	if admin == nil {
		return 0, errors.New("asking for the lag: the sink is not running")
	}
	// All topics, known to the consumer or not yet, and to their very end; see
	// Transform.Behind.
	ends, err := listed(admin.ListEndOffsets(ctx, d.cfg.Topics...))
	if err != nil {
		return 0, fmt.Errorf("listing ends: %w", err)
	}
	var behind int64
	d.mu.Lock()
	defer d.mu.Unlock()
	ends.Each(func(end kadm.ListedOffset) {
		if end.Err != nil {
			return // absent
		}
		at, known := d.lines[end.Topic].written(end.Partition)
		if !known {
			at, _ = elsewhere(others, d.cfg.Sink, end.Topic, end.Partition)
		}
		behind += max(end.Offset-max(at, 0), 0)
	})
	return behind, nil
}

// written is the next offset that the target does not have yet of an assigned
// partition. Deliver.mu is held.
func (l *line) written(partition int32) (next int64, assigned bool) {
	part := l.parts[partition]
	if part == nil {
		return 0, false
	}
	next = max(part.next, 0)
	if len(part.records) > 0 {
		next = part.from
	}
	if l.inFlight != nil && l.inFlight.owners[partition] == part {
		next = min(next, l.inFlight.batch.Parts[partIndex(l.inFlight.batch.Parts, partition)].First)
	}
	return next, true
}

// positions adds what the target has of this process's partitions.
func (d *Deliver) positions(r *Report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for topic, l := range d.lines {
		for partition := range l.parts {
			next, _ := l.written(partition)
			r.at(d.cfg.Sink, topic, partition, next)
		}
	}
}

func partIndex(parts []change.Part, number int32) int {
	return slices.IndexFunc(parts, func(p change.Part) bool { return p.Partition == number })
}
