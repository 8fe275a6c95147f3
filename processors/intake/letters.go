package intake

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"syncline/processors/letters"
	"syncline/schemas/change"
)

// park makes a letter of a record that its mapping refuses.
func (k *Intake) park(at Place, id string, err error) change.Verdict {
	return k.parkAs(at, id, ReasonMapping, err)
}

// parkAs makes a letter of a record. It is kept under the row's id, "" where that
// is not known, until it is settled; one that is open already has failed once more.
func (k *Intake) parkAs(at Place, id, reason string, err error) change.Verdict {
	if k.over(at) {
		return change.Dropped(ReasonSettled)
	}
	if id != "" {
		err = fmt.Errorf("row %s of %s: %w", id, k.src.Topic, err)
	}
	l := keptLetter{Letter: change.Letter{
		Topic: at.Topic, Partition: at.Partition, Offset: at.Offset, Timestamp: at.Timestamp, Reason: reason,
		Fingerprint: letters.Fingerprint(reason, at.Topic, err.Error()), Attempts: 1, Subject: k.subject(id),
	}, unplaced: !k.living(id)}
	if known := k.reopen(id, at.Offset); known != nil {
		l.Attempts = known.Attempts + 1
	} else {
		k.count.Letters++
		k.window.Letter()
	}
	if l.unplaced {
		k.count.Unplaced++
	}
	k.store.Put(letterKey(id, at.Offset), l.append(nil))
	return change.Parked(reason, &change.SubjectError{Subject: l.Subject, Attempts: l.Attempts, Err: err})
}

// reopen takes the open letter of a record out of the state, nil where there is
// none. Read again, its record may name another row than it did.
func (k *Intake) reopen(id string, offset int64) *keptLetter {
	if l := k.take(id, offset); l != nil || k.again == nil {
		return l
	}
	if l := k.take(k.again.row, offset); l != nil {
		return l
	}
	return k.take("", offset)
}

// take takes a letter out of the state.
func (k *Intake) take(id string, offset int64) *keptLetter {
	key := letterKey(id, offset)
	stored := k.store.Get(key)
	if stored == nil {
		return nil
	}
	l, err := decodeLetter(stored)
	if err != nil {
		return nil
	}
	if l.Attempts == 0 { // an early version has kept it
		l.Attempts, l.unplaced = 1, !k.living(id)
	}
	k.store.Delete(key)
	if l.unplaced {
		k.count.Unplaced--
	}
	return &l
}

// subject is what is known of a row that a letter is about.
func (k *Intake) subject(id string) change.Subject {
	s := change.Subject{System: k.src.System, Entity: k.src.Entity, Part: k.src.Part, ID: id}
	if id == "" {
		return s
	}
	if k.src.Part == "" {
		s.Document = id
	} else if stored := k.store.Get(k.rowKey(id)); stored != nil {
		// Not by load: the caller may hold the row that it has loaded.
		if row, err := change.DecodeRowHead(stored); err == nil {
			s.Document = row.Doc
		}
	}
	return s
}

// living reports whether a row is known and not deleted.
func (k *Intake) living(id string) bool {
	if id == "" {
		return false
	}
	stored := k.store.Get(k.rowKey(id))
	return stored != nil && !change.StoredDeleted(stored)
}

// heal settles the open letters of a row, of which a good image has come. Of one
// that is read again it settles its own letter and those of records before, and
// reports whether later ones are open still.
func (k *Intake) heal(id string, out Output) (later bool) {
	if k.count.Letters == k.count.Healed {
		return false // none is open: spares the scan
	}
	for _, offset := range k.letters(id) {
		switch {
		case k.again != nil && offset > k.again.at:
			later = true
		case k.again != nil && offset == k.again.at:
			k.settle(id, offset, letters.Redriven, *k.again, out)
		default:
			k.settle(id, offset, letters.Healed, Act{}, out)
		}
	}
	return later
}

// settle ends a letter, and tells whether it was open.
func (k *Intake) settle(id string, offset int64, state string, act Act, out Output) bool {
	l := k.take(id, offset)
	if l == nil {
		return false
	}
	k.store.Put(settledKey(offset), binary.AppendVarint(nil, l.Timestamp))
	l.Subject = k.subject(id)
	l.State, l.Who, l.Why, l.Instruction = state, act.Who, act.Why, act.Instruction
	k.count.Healed++
	k.dirty = true
	out.Settled(l.Letter)
	return true
}

// over reports whether a record that is read again had a letter which is settled:
// then nobody wants to hear of it once more. The time tells records of one place
// apart where a topic was made anew.
func (k *Intake) over(at Place) bool {
	if k.again == nil {
		return false
	}
	stored := k.store.Get(settledKey(at.Offset))
	then, w := binary.Varint(stored)
	return w > 0 && then == at.Timestamp
}

// place notes that a row is known by now, which says itself what it lacks.
func (k *Intake) place(id string) {
	for _, offset := range k.letters(id) {
		if l := k.take(id, offset); l != nil {
			l.unplaced = false
			k.store.Put(letterKey(id, offset), l.append(nil))
		}
	}
}

// letters are the offsets of a row's open letters.
func (k *Intake) letters(id string) (open []int64) {
	prefix := letterPrefix(id)
	k.store.Scan(prefix, func(key, _ []byte) bool {
		if len(key) == len(prefix)+offsetBytes { // else of a longer id that holds the separator
			open = append(open, int64(binary.BigEndian.Uint64(key[len(prefix):]))) //nolint:gosec // written from an int64
		}
		return true
	})
	return open
}

// told reports whether a letter of a row that gives this reason is open.
func (k *Intake) told(id, reason string) bool {
	return slices.ContainsFunc(k.letters(id), func(offset int64) bool {
		l, err := decodeLetter(k.store.Get(letterKey(id, offset)))
		return err == nil && l.Reason == reason
	})
}

// offsetBytes is how long the offset at the end of a letter's key is.
const offsetBytes = 8

func letterPrefix(id string) []byte {
	b := append([]byte{'l'}, id...)
	return append(b, 0)
}

func letterKey(id string, offset int64) []byte {
	return binary.BigEndian.AppendUint64(letterPrefix(id), uint64(offset)) //nolint:gosec // offsets are not negative
}

// settledKey remembers that the letter of a record is settled.
func settledKey(offset int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{'d'}, uint64(offset)) //nolint:gosec // offsets are not negative
}

// keptLetter is what the state has of an open letter, to say later what became of
// it; its bytes are in the letters topic.
type keptLetter struct {
	change.Letter

	unplaced bool // no living row was known: counted as such
}

// append stores a letter. A zero ends the reason; in early versions nothing
// followed it.
func (l *keptLetter) append(b []byte) []byte {
	b = binary.AppendVarint(b, int64(l.Partition))
	b = binary.AppendVarint(b, l.Offset)
	b = binary.AppendVarint(b, l.Timestamp)
	b = binary.AppendUvarint(b, uint64(len(l.Topic)))
	b = append(b, l.Topic...)
	b = append(append(b, l.Reason...), 0)
	attempts := uint64(l.Attempts) << 1 //nolint:gosec // a count
	if l.unplaced {
		attempts |= 1
	}
	return append(binary.AppendUvarint(b, attempts), l.Fingerprint...)
}

var errLetter = errors.New("a stored letter is cut short")

// decodeLetter reads what append wrote; of early versions without attempts.
func decodeLetter(b []byte) (l keptLetter, err error) {
	var n [3]int64
	for i := range n {
		v, w := binary.Varint(b)
		if w <= 0 {
			return l, errLetter
		}
		n[i], b = v, b[w:]
	}
	size, w := binary.Uvarint(b)
	if w <= 0 || size > uint64(len(b)-w) {
		return l, errLetter
	}
	b = b[w:]
	reason, more, ok := bytes.Cut(b[size:], []byte{0})
	l.Topic, l.Partition, l.Offset, l.Timestamp = string(b[:size]), int32(n[0]), n[1], n[2] //nolint:gosec // written from an int32
	l.Hop, l.Reason = "intake", string(reason)
	if !ok {
		return l, nil
	}
	attempts, w := binary.Uvarint(more)
	if w <= 0 || attempts > math.MaxInt32 {
		return l, errLetter
	}
	l.Attempts, l.unplaced, l.Fingerprint = int32(attempts>>1), attempts&1 == 1, string(more[w:])
	return l, nil
}
