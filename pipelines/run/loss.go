package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"syncline/schemas/change"
)

// The reasons for which a reader stops because its partition is no longer the
// one that its position was committed for. They are stable codes.
const (
	lossBeyondEnd  = "input.beyond_end"    // the partition ends before the position
	lossBelowStart = "input.below_start"   // records behind the position are gone
	lossTruncated  = "input.truncated"     // the log was cut below the position and has grown again
	lossRecreated  = "input.recreated"     // the topic was deleted and created again
	lossOutOfRange = "input.out_of_range"  // the broker does not know the position
	lossBackwards  = "input.went_backward" // records below the position were delivered
)

// loss says what a reader misses. Its partition stops, all others go on.
type loss struct {
	reason     string
	id         partitionID
	next       int64 // where the reader would go on; -1: it has no position
	start, end int64 // what the partition holds; -1 unknown
	goOn       int64 // where it can go on without leaving out what is there
	remedy     string
}

// lossWords say each reason in words.
var lossWords = map[string]string{
	lossBeyondEnd:  "the partition ends before that: records were lost, or the topic was put back to an earlier state",
	lossBelowStart: "records from there on were deleted before they were read (retention passed, or they were deleted by hand)",
	lossTruncated:  "the partition was cut off below that and has grown again (an unclean leader election): other records have these offsets now",
	lossRecreated:  "the topic was deleted and created again, so its offsets mean other records now",
	lossOutOfRange: "the partition does not hold that offset",
	lossBackwards:  "the broker has delivered lower offsets, twice: the partition was put back",
}

func (l *loss) Error() string {
	at := fmt.Sprintf("goes on at offset %d", l.next)
	if l.next < 0 {
		at = "has no position"
	}
	holds := "what it holds cannot be told"
	if l.start >= 0 && l.end >= 0 {
		holds = fmt.Sprintf("it holds offsets %d to %d", l.start, l.end)
	}
	return fmt.Sprintf("%s %s, but %s; %s. %s", l.id, at, lossWords[l.reason], holds, l.remedy)
}

// skipCommand is what lets a task go on at an offset.
func skipCommand(id partitionID, offset int64) string {
	return fmt.Sprintf("`syncline feeds skip %s %d %d`", id.topic, id.partition, offset)
}

// rebuildCommand computes everything anew from the sources.
const rebuildCommand = "`syncline rebuild all`"

// ofTask completes a loss with the way on for a task of the hop.
func (h *hop) ofTask(l *loss) *loss {
	l.goOn = max(l.goOn, l.start, 0)
	skip := skipCommand(l.id, l.goOn)
	if h.queues[l.id.topic] {
		l.remedy = "What is missing was on its way between two hops: go on with " + skip + ", then make it good with " + rebuildCommand
	} else {
		l.remedy = "If the source can send it again (a new snapshot), go on with " + skip + "; if what is missing still counts, restore the topic"
	}
	return l
}

// bounds are the offsets of a partition, and the end of the leader epoch that a
// reader saw last: -1 where unknown.
type bounds struct{ start, end, epochEnd int64 }

// listBounds asks the broker for the bounds of the partitions in epochs (the
// leader epoch seen last, -1 for none). A partition that is not there is absent
// from the result.
func listBounds(ctx context.Context, admin *kadm.Client, epochs map[partitionID]int32) (map[partitionID]bounds, error) {
	byTopic := map[string]bool{}
	var seen kadm.OffsetForLeaderEpochRequest
	for id, epoch := range epochs {
		byTopic[id.topic] = true
		if epoch >= 0 {
			seen.Add(id.topic, id.partition, epoch)
		}
	}
	topics := make([]string, 0, len(byTopic))
	for t := range byTopic {
		topics = append(topics, t)
	}
	starts, err := listed(admin.ListStartOffsets(ctx, topics...))
	if err != nil {
		return nil, fmt.Errorf("listing starts: %w", err)
	}
	ends, err := listed(admin.ListEndOffsets(ctx, topics...))
	if err != nil {
		return nil, fmt.Errorf("listing ends: %w", err)
	}
	var ofEpochs kadm.OffsetsForLeaderEpochs
	if len(seen) > 0 {
		if ofEpochs, err = admin.OffsetForLeaderEpoch(ctx, seen); err != nil {
			return nil, fmt.Errorf("listing ends of leader epochs: %w", err)
		}
	}
	out := map[partitionID]bounds{}
	for id := range epochs {
		start, ok := starts.Lookup(id.topic, id.partition)
		end, ok2 := ends.Lookup(id.topic, id.partition)
		if !ok || !ok2 || start.Err != nil || end.Err != nil {
			continue // listed lets only absence pass
		}
		b := bounds{start: start.Offset, end: end.Offset, epochEnd: -1}
		if e, ok := ofEpochs[id.topic][id.partition]; ok {
			if e.Err != nil && !errors.Is(e.Err, kerr.UnknownTopicOrPartition) {
				return nil, fmt.Errorf("asking for the end of a leader epoch of %s: %w", id, e.Err)
			}
			b.epochEnd = e.EndOffset
		}
		out[id] = b
	}
	return out, nil
}

// against compares a position with what its partition holds; nil is well.
func (b bounds) against(id partitionID, next int64) *loss {
	l := &loss{id: id, next: next, start: b.start, end: b.end}
	switch {
	case next < 0:
		return nil
	case next > b.end:
		l.reason = lossBeyondEnd
	case next < b.start:
		l.reason = lossBelowStart
	case b.epochEnd >= 0 && b.epochEnd < next:
		l.reason, l.goOn = lossTruncated, b.epochEnd
	default:
		return nil
	}
	return l
}

// checkInputs holds the positions of restored tasks against their partitions.
func (h *hop) checkInputs(ctx context.Context, results []*restored) error {
	epochs := map[partitionID]int32{}
	for _, r := range results {
		epochs[r.id] = -1
		if r.check != nil {
			epochs[r.id] = r.check.Epoch
		}
	}
	all, err := listBounds(ctx, h.admin, epochs)
	if err != nil {
		return err
	}
	for _, r := range results {
		b, there := all[r.id]
		r.start = b.start
		h.obeySkip(r)
		if r.goOn >= 0 && r.err == nil {
			if l := (bounds{b.start, b.end, -1}).against(r.id, r.goOn); there && l != nil {
				r.err = h.ofTask(l)
			}
			if there {
				continue
			}
		}
		var known *loss
		switch {
		case errors.As(r.err, &known):
			if there {
				known.start, known.end = b.start, b.end
			}
			r.err = h.ofTask(known)
		case r.err != nil:
		case !there:
			r.err = fmt.Errorf("%s: the partition has gone; create the topic as it was, or take it out of the catalog", r.id)
		case h.emptied[r.id] && b.start == 0 && r.position.next > b.end:
			// The embedded broker has forgotten the offsets of an emptied queue. Only
			// what this task has committed is ever deleted, so nothing is missing.
			h.log.Warn("queue begins anew at offset 0, as its broker has forgotten the offsets of an empty queue", "task", r.id, "position", r.position.next)
			r.goOn = 0
		case r.position.next < 0 && h.queues[r.id.topic] && b.start > 0:
			r.err = h.ofTask(&loss{reason: lossBelowStart, id: r.id, next: -1, start: b.start, end: b.end})
		default:
			if l := b.against(r.id, r.position.next); l != nil {
				r.err = h.ofTask(l)
			}
		}
	}
	return nil
}

// noteEmptied remembers the hop's own queues that hold nothing and begin at 0.
// It is asked before any hop of this process writes.
func (h *hop) noteEmptied(ctx context.Context, found map[string]topicMeta) error {
	epochs := map[partitionID]int32{}
	for name := range h.queues {
		for p := range found[name].count {
			epochs[partitionID{name, p}] = -1
		}
	}
	if len(epochs) == 0 {
		return nil
	}
	all, err := listBounds(ctx, h.admin, epochs)
	if err != nil {
		return err
	}
	h.emptied = map[partitionID]bool{}
	for id, b := range all {
		h.emptied[id] = b.start == 0 && b.end == 0
	}
	return nil
}

// lost describes a loss that a running task has met. The broker is asked for
// the bounds, but not for long: the task stops either way.
func (h *hop) lost(t *task, reason string) error {
	ctx, cancel := context.WithTimeout(h.life, 2*time.Second)
	defer cancel()
	l := &loss{reason: reason, id: t.id, next: t.next, start: -1, end: -1}
	if all, err := listBounds(ctx, h.admin, map[partitionID]int32{t.id: t.epoch}); err == nil {
		if b, ok := all[t.id]; ok {
			l.start, l.end = b.start, b.end
			if better := b.against(t.id, t.next); better != nil {
				l = better
			}
		}
	}
	return h.ofTask(l)
}

// checkLine holds what a target has of a partition against what the topic holds.
func checkLine(id partitionID, at change.Settled, ok bool, topic topicMeta, holds map[partitionID]bounds) *loss {
	b, there := holds[id]
	switch {
	case !there:
		return nil // just gone: the watch tells when it is made anew
	case !ok && b.start > 0:
		return &loss{reason: lossBelowStart, id: id, next: -1, start: b.start, end: b.end}
	case !ok:
		return nil
	case topic.other(topicMeta{id: at.TopicID}):
		return &loss{reason: lossRecreated, id: id, next: at.Next, start: b.start, end: b.end}
	}
	return b.against(id, at.Next)
}

// ofLine completes a loss with the way on for a sink.
func (d *Deliver) ofLine(l *loss) *loss {
	l.remedy = fmt.Sprintf("What the target %s has and what the topic holds no longer join: restore the topic; or compute it anew with %s, empty the table of this topic (TRUNCATE TABLE) and start the sink again, which then fills it",
		d.cfg.Sink, rebuildCommand)
	return l
}

// partLoss describes a loss that was met while delivering; nobody is asked for
// the bounds, as the lock is held. d.mu is held.
func (d *Deliver) partLoss(l *line, partition int32, reason string) *loss {
	out := &loss{reason: reason, id: partitionID{l.topic, partition}, next: -1, start: -1, end: -1}
	if part := l.parts[partition]; part != nil {
		out.next = part.next
	}
	return d.ofLine(out)
}

// Place is where a hop is in an input partition, and what that holds. Committed
// is -1 where it has no offset yet.
type Place struct{ Committed, Start, End int64 }

// ErrNoPartition says that a topic has no such partition.
var ErrNoPartition = errors.New("there is no such partition")

// PlaceOf asks the broker for the place of a hop under cfg's prefix.
func PlaceOf(ctx context.Context, cfg Config, hop, topic string, partition int32) (Place, error) {
	cl, err := cfg.asking()
	if err != nil {
		return Place{}, fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	id := partitionID{topic, partition}
	holds, err := listBounds(ctx, admin, map[partitionID]int32{id: -1})
	if err != nil {
		return Place{}, err
	}
	b, ok := holds[id]
	if !ok {
		return Place{}, fmt.Errorf("%s: %w", id, ErrNoPartition)
	}
	p := Place{Committed: -1, Start: b.start, End: b.end}
	committed, err := groupOffsets(ctx, admin, cfg.withDefaults().Prefix+"."+hop)
	if err != nil {
		return Place{}, err
	}
	if o, ok := committed.Lookup(topic, partition); ok {
		p.Committed = o.At
	}
	return p, nil
}
