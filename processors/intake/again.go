package intake

import (
	"syncline/processors/letters"
	"syncline/schemas/change"
)

// Act is an operator's decision about letters.
type Act struct {
	Who, Why, Instruction string

	at  int64  // offset of the record that is read once more
	row string // under which its letter is kept
}

// windowKey holds the letters among the last records.
var windowKey = []byte("b")

// keepWindow stores the window while there are letters in it: feeds without any
// pay nothing.
func (k *Intake) keepWindow() {
	switch {
	case k.window.Letters() > 0:
		k.store.Put(windowKey, k.window.Append(nil))
		k.windows = true
	case k.windows:
		k.store.Delete(windowKey)
		k.windows = false
	}
}

// Flooded says why the feed must stop, if too many of its last records became
// letters.
func (k *Intake) Flooded(l letters.Limit) error { return k.window.Exceeds(l) }

// Forgive forgets the letters among the last records: the feed has stopped for
// them, was begun again, and its next record could be taken.
func (k *Intake) Forgive() {
	k.window = letters.Window{}
	k.dirty = true
}

// Again applies, by process, a record that was read before: its row's position
// decides, so that nothing goes back in time. What was counted once is not counted
// again. If the record can be taken now, or if it says nothing new, its letter is
// settled; id is the row under which that is kept, beside the one in the key,
// which process fills in.
func (k *Intake) Again(at *Place, id string, act Act, process func() change.Verdict, out Output) change.Verdict {
	before := k.count
	act.at, act.row = at.Offset, id
	k.again = &act
	v := process()
	k.again = nil
	after := k.count
	k.count = before
	k.count.Letters, k.count.Healed, k.count.Unplaced, k.count.LastEvent = after.Letters, after.Healed, after.Unplaced, after.LastEvent
	k.count.Suspected, k.count.RestoredAt = after.Suspected, after.RestoredAt
	k.dirty = true
	switch v.Kind {
	case change.Pass, change.Drop:
		for _, row := range []string{at.Key, id, ""} {
			k.settle(row, at.Offset, letters.Redriven, act, out)
		}
	case change.Wait: // its letter stays as it is
		return change.Dropped(v.Reason)
	case change.Stop:
		if v.Reason == ReasonRestored {
			return change.Dropped(v.Reason)
		}
	case change.Park:
	}
	return v
}

// Discard settles a letter that nobody needs. It tells whether it was open.
func (k *Intake) Discard(id string, offset int64, act Act, out Output) bool {
	return k.settle(id, offset, letters.Discarded, act, out)
}
