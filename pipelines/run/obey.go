package run

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"syncline/schemas/change"
)

// obedience is what one task has done of the instructions that concern it. The
// committed part of it, its mark, is in the task's self-check, so that it moves
// with the transaction in which the task obeyed.
type obedience struct {
	seen    int64   // instructions below are in pending, or are done, or do not concern the task
	ahead   []int64 // done although an earlier one is pending
	pending []duty
	due     int64 // the least offset at which a pending one acts; never if there is none
}

// duty is an instruction that a task has still to obey.
type duty struct {
	order
	at    int64 // acts as soon as the task's next offset is here
	again bool  // acts on records that are read for it
	done  bool  // in the transaction under way
}

const never = math.MaxInt64

// mark says which instructions a task has done: all below, and those in ahead.
type mark struct {
	below int64
	ahead []int64 // ascending
}

func newObedience(m mark) obedience {
	return obedience{seen: m.below, ahead: m.ahead, due: never}
}

// look takes in what has been said since the last look: all from o.seen on,
// which ends at next. It returns true if a skip is among it; then the task begins
// anew.
func (o *obedience) look(all []order, next int64, hop string, id partitionID) (skip bool) {
	for _, i := range all {
		if slices.Contains(o.ahead, i.offset) || !i.concerns(hop, id) {
			continue
		}
		if i.Kind == KindSkip {
			return true
		}
		o.pending = append(o.pending, duty{order: i, at: i.At[id.partition], again: i.rereads()})
	}
	o.seen = max(o.seen, next)
	o.reckon()
	return false
}

func (o *obedience) reckon() {
	o.due = never
	for i := range o.pending {
		if !o.pending[i].done && !o.pending[i].again {
			o.due = min(o.due, o.pending[i].at)
		}
	}
}

// mark is what the transaction under way commits.
func (o *obedience) mark() mark {
	m := mark{below: o.seen}
	for i := range o.pending {
		if !o.pending[i].done {
			m.below = o.pending[i].offset
			break
		}
	}
	add := func(offset int64) {
		if offset > m.below {
			m.ahead = append(m.ahead, offset)
		}
	}
	for _, offset := range o.ahead {
		add(offset)
	}
	for i := range o.pending {
		if o.pending[i].done {
			add(o.pending[i].offset)
		}
	}
	slices.Sort(m.ahead)
	return m
}

// busy says that the transaction under way has obeyed something.
func (o *obedience) busy() bool {
	return slices.ContainsFunc(o.pending, func(d duty) bool { return d.done })
}

func (o *obedience) commit() {
	if len(o.pending) == 0 && len(o.ahead) == 0 {
		return
	}
	o.ahead = o.mark().ahead
	o.pending = slices.DeleteFunc(o.pending, func(d duty) bool { return d.done })
	o.reckon()
}

func (o *obedience) rollback() {
	for i := range o.pending {
		o.pending[i].done = false
	}
	o.reckon()
}

// obey calls do for each instruction that is due at an offset, in the order in
// which they were given, and marks it; do's error ends it before the mark.
func (o *obedience) obey(at int64, do func(*Instruction) error) error {
	for i := range o.pending {
		if d := &o.pending[i]; !d.done && !d.again && d.at <= at {
			if err := do(d.Instruction); err != nil {
				return err
			}
			d.done = true
		}
	}
	o.reckon()
	return nil
}

// obeyed is one call of Obey, and what is to be made of its verdict: an error
// stops the task.
func obeyed(task Obedient, i *Instruction, out Emitter) (v change.Verdict, err error) {
	v = task.Obey(i, out)
	switch v.Kind {
	case change.Pass, change.Drop:
		return v, nil
	case change.Stop:
	case change.Park, change.Wait:
		return v, fmt.Errorf("instruction %s (%s): an instruction cannot wait or become a letter: %s: %w", i.ID, i.Kind, v.Reason, v.Err)
	}
	return v, fmt.Errorf("instruction %s (%s): %s: %w", i.ID, i.Kind, v.Reason, v.Err)
}

// obeyDue has the task obey what is due before the record at an offset. It
// returns false if the task must stop.
func (t *task) obeyDue(at int64) bool {
	if t.obedience.due > at {
		return true
	}
	if t.next < 0 {
		// Its position is committed with what it obeys, so it needs one.
		t.base, t.next = t.start, t.start
	}
	t.touched = true
	err := t.obedience.obey(at, func(i *Instruction) error {
		v, err := obeyed(t.impl.(Obedient), i, &t.out) //nolint:forcetypeassert // only such a task has duties
		if err != nil {
			t.haltReason = v.Reason
			return err
		}
		if t.out.err != nil {
			t.haltReason = "output"
			return t.out.err
		}
		if v.Kind == change.Drop {
			t.log.Info("instruction is not for this task", "id", i.ID, "kind", i.Kind, "reason", v.Reason)
		} else {
			t.log.Info("instruction obeyed", "id", i.ID, "kind", i.Kind, "at", at)
		}
		return nil
	})
	if err != nil {
		t.halt = fmt.Errorf("task %s: %w", t.id, err)
		if t.haltReason == "" {
			t.haltReason = "instruction"
		}
		return false
	}
	return true
}

// due says whether the task has to obey something where it is.
func (t *task) due() bool { return t.obedience.due <= t.place() }

// place is the task's next offset, or where it would begin.
func (t *task) place() int64 {
	if t.next < 0 {
		return t.start
	}
	return t.next
}

// look has the task take in what was said; true says that it has to skip.
func (t *task) look() (skip bool) {
	if t.hop.orders == nil {
		return false
	}
	all, next := t.hop.orders.from(t.obedience.seen)
	if _, ok := t.impl.(Obedient); !ok {
		// Skipping is the engine's own, every task can.
		all = slices.DeleteFunc(slices.Clone(all), func(o order) bool { return o.Kind != KindSkip })
	}
	return t.obedience.look(all, next, t.hop.def.Name, t.id)
}

// follow has the hop hear of instructions.
func (h *hop) follow(o *orders) {
	if o == nil {
		return
	}
	h.orders = o
	o.mu.Lock()
	o.wake = append(o.wake, h.wake)
	o.mu.Unlock()
}

// lookAtOrders has every task take in what was said; a task that shall skip is
// restored anew, at its new offset.
func (h *hop) lookAtOrders() {
	if h.orders == nil {
		return
	}
	_, next := h.orders.from(never)
	if next == h.heard {
		return
	}
	h.heard = next
	var skips []partitionID
	h.mu.Lock()
	for id, t := range h.tasks {
		if t.look() {
			skips = append(skips, id)
		}
	}
	h.mu.Unlock()
	for _, id := range skips {
		h.reassign(id)
	}
}

// obeySkip applies the last skip that a task has not obeyed yet: its position is
// where that says, and what was wrong with the old one is no matter.
func (h *hop) obeySkip(r *restored) {
	if h.orders == nil {
		return
	}
	all, next := h.orders.from(r.mark.below)
	if r.mark.below > next {
		r.err = fmt.Errorf("task %s: has obeyed the instructions below offset %d of %s, but that ends at %d: the topic was emptied or made anew; "+
			"restore it, or compute everything anew with %s", r.id, r.mark.below, h.orders.topic, next, rebuildCommand)
		return
	}
	for _, o := range all {
		if o.Kind != KindSkip || !o.concerns(h.def.Name, r.id) || slices.Contains(r.mark.ahead, o.offset) {
			continue
		}
		h.log.Warn("task goes on at another offset, as instructed", "task", r.id, "position", r.position.next, "offset", o.At[r.id.partition], "instruction", o.ID, "who", o.Who, "why", o.Why)
		r.goOn = o.At[r.id.partition]
		r.mark.ahead = append(slices.Clone(r.mark.ahead), o.offset)
		if _, ok := errors.AsType[*loss](r.err); ok {
			r.err = nil
		}
	}
}
