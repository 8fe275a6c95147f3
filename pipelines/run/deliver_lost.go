package run

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/schemas/change"
)

// lostLine is a topic whose target is not what it was: a table that was dropped,
// say. Nothing of it is read until the target says anew what it holds, so that
// one which comes back empty is filled from the start, and the other topics have
// the buffers to themselves.
type lostLine struct {
	due    time.Time // of the next question
	asking bool
	answer *targetAnswer
}

// targetAnswer is what the target holds of partitions, and what the topic does.
type targetAnswer struct {
	partitions []int32
	next       map[int32]change.Settled
	holds      map[partitionID]bounds
}

// loseTarget forgets what is buffered and asks after a pause. d.mu is held.
func (d *Deliver) loseTarget(l *line, err error) {
	if l.stopped != nil {
		return
	}
	l.lost = &lostLine{due: time.Now().Add(d.backoff(l.losses))}
	l.losses++
	d.forget(l)
	d.log.Error("the target is not what it was; it is asked anew", "topic", l.topic, "error", err)
}

// askAgain asks targets that were lost, where that is due.
func (d *Deliver) askAgain(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lines {
		lost := l.lost
		if lost == nil || lost.asking || lost.answer != nil || l.stopped != nil || time.Now().Before(lost.due) {
			continue
		}
		lost.asking = true
		partitions := slices.Sorted(maps.Keys(l.parts))
		d.writing.Go(func() {
			next, holds, err := d.resume(ctx, l, partitions)
			d.mu.Lock()
			lost.asking = false
			if err == nil {
				lost.answer = &targetAnswer{partitions, next, holds}
			}
			d.mu.Unlock()
			d.wakeUp()
		})
	}
}

// beginAgain lets topics go on whose targets have answered. Rebalances are blocked
// meanwhile.
func (d *Deliver) beginAgain() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lines {
		if l.lost == nil || l.lost.answer == nil || l.stopped != nil {
			continue
		}
		answer := l.lost.answer
		if l.lost.answer = nil; !slices.Equal(answer.partitions, slices.Sorted(maps.Keys(l.parts))) {
			continue // they came or went meanwhile: ask again
		}
		offsets := map[int32]kgo.EpochOffset{}
		for _, p := range answer.partitions {
			id := partitionID{l.topic, p}
			at, ok := answer.next[p]
			if err := checkLine(id, at, ok, d.known[l.topic], answer.holds); err != nil {
				d.stopLine(l, d.ofLine(err))
				break
			}
			start := pendingPart{from: -1, next: -1, end: -1}
			offsets[p] = kgo.EpochOffset{Epoch: -1, Offset: answer.holds[id].start}
			if ok {
				start.from, start.next = at.Next, at.Next
				offsets[p] = kgo.EpochOffset{Epoch: -1, Offset: at.Next}
			}
			*l.parts[p] = start
		}
		if l.stopped != nil {
			continue
		}
		l.lost = nil
		l.stats.answered()
		d.cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{l.topic: offsets})
		d.cl.ResumeFetchTopics(l.topic)
		d.log.Info("partitions begin anew", "topic", l.topic, "target", answer.next, "partitions", answer.partitions)
	}
}

// answered ends a failure.
func (s *lineStats) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = ""
}
