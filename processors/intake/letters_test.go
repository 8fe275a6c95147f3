package intake

import (
	"errors"
	"testing"

	"syncline/processors/letters"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

var errTorn = errors.New("torn")

// counts are a feed's letters: written, settled, of no known row.
func (w *told) counts(letters, settled, unplaced int64) {
	w.t.Helper()
	if c := w.op.count; c.Letters != letters || c.Healed != settled || c.Unplaced != unplaced {
		w.t.Errorf("letters %d, settled %d, unplaced %d, want %d, %d, %d", c.Letters, c.Healed, c.Unplaced, letters, settled, unplaced)
	}
}

// redrive has the record at an offset read again.
func (w *told) redrive(offset int64, row string, process func(at *Place) change.Verdict) change.Verdict {
	at := Place{Topic: w.src.Topic, Offset: offset}
	return w.op.Again(&at, row, Act{Who: "ada", Instruction: "i1"}, func() change.Verdict { return process(&at) }, w)
}

func (w *told) lastSettled(state string) {
	w.t.Helper()
	if n := len(w.settled); n == 0 || w.settled[n-1].State != state || w.settled[n-1].Fingerprint == "" {
		w.t.Errorf("settled %+v, want the last one %s", w.settled, state)
	}
}

// A record that names no row is a letter all the same, and can be worked.
func TestLetterThatNamesNoRowIsRedriven(t *testing.T) {
	w := tell(t, invoices())
	at := Place{Topic: "invoices", Offset: 70}
	w.op.Refuse(at, "record.frame", errTorn, w)
	w.counts(1, 0, 1)
	// In vain: the same letter once more, not another one.
	v := w.redrive(70, "", func(at *Place) change.Verdict { return w.op.Refuse(*at, "record.frame", errTorn, w) })
	var about *change.SubjectError
	if !errors.As(v.Err, &about) || about.Attempts != 2 {
		t.Errorf("%+v", v)
	}
	w.counts(1, 0, 1)
	// Read so far that its row is known: the letter is that row's from now on.
	w.redrive(70, "", func(at *Place) change.Verdict {
		at.Key = "1"
		return w.op.Refuse(*at, "record.avro", errTorn, w)
	})
	w.counts(1, 0, 1)
	good := w.image(opCreate, map[string]change.Value{"state": change.OfString("p")})
	if v = w.redrive(70, "1", func(at *Place) change.Verdict {
		at.Key = "1"
		return w.op.Apply(*at, good, w)
	}); v.Kind != change.Pass {
		t.Errorf("%+v", v)
	}
	w.lastSettled(letters.Redriven)
	w.counts(1, 1, 0)
	if left := w.op.letters("1"); len(left) > 0 || len(w.op.letters("")) > 0 {
		t.Errorf("%v are left", left)
	}
}

// What a record's letter counted as goes with it, whoever settles it.
func TestUnplacedLettersAreCountedOut(t *testing.T) {
	w := tell(t, invoices())
	for _, offset := range []int64{70, 71, 72} {
		w.op.Refuse(Place{Topic: "invoices", Offset: offset, Key: map[int64]string{70: "1", 71: "2", 72: ""}[offset]}, "record.avro", errTorn, w)
	}
	w.counts(3, 0, 3)
	w.op.Discard("", 72, Act{Who: "ada"}, w)
	w.lastSettled(letters.Discarded)
	w.counts(3, 1, 2)
	if w.op.Discard("", 72, Act{Who: "ada"}, w) {
		t.Error("discarded twice")
	}
	w.at = 72
	// A row that is there, with a value refused, says itself what it lacks.
	w.apply(opCreate, map[string]change.Value{"state": change.OfString("p"), "date": endless})
	w.counts(4, 1, 1)
	w.apply(opUpdate, map[string]change.Value{"state": change.OfString("p"), "date": change.OfDate(5)})
	w.lastSettled(letters.Healed)
	w.counts(4, 3, 1)
	// A letter of a row that has gone since was counted as a known row's.
	w.op.Refuse(Place{Topic: "invoices", Offset: 76, Key: "1"}, "record.avro", errTorn, w)
	w.counts(5, 3, 1)
	w.at = 76
	w.apply(opDelete, map[string]change.Value{})
	w.counts(5, 4, 1)
	w.op.Discard("2", 71, Act{Who: "ada"}, w)
	w.counts(5, 5, 0)
}

// Letters that an early version has kept can still be settled.
func TestLetterOfAnEarlyVersion(t *testing.T) {
	l := keptLetter{Letter: change.Letter{Topic: "invoices", Partition: 3, Offset: 70, Timestamp: 5, Reason: "record.avro", Fingerprint: "0a1b2c3d4e5f", Attempts: 2}, unplaced: true}
	stored := l.append(nil)
	if back, err := decodeLetter(stored); err != nil || back.Attempts != 2 || !back.unplaced || back.Fingerprint != l.Fingerprint || back.Reason != l.Reason || back.Offset != 70 {
		t.Errorf("%+v, %v", back, err)
	}
	early := stored[:len(stored)-len(l.Fingerprint)-2] // up to the reason's end
	w := tell(t, invoices())
	w.op.store.Put(letterKey("1", 70), early)
	w.op.count.Letters, w.op.count.Unplaced = 1, 1
	w.at = 70
	w.apply(opCreate, map[string]change.Value{"state": change.OfString("p")})
	if n := len(w.settled); n != 1 || w.settled[0].State != letters.Healed || w.settled[0].Attempts != 1 {
		t.Errorf("settled %+v", w.settled)
	}
	w.counts(1, 1, 0)
}

// Of several letters of a row one that is read again settles itself and those
// before; while a later one is open the row says that it lacks something.
func TestRedrivenRecordLeavesLaterLettersOpen(t *testing.T) {
	w := tell(t, invoices())
	images := map[int64]Image{}
	for offset := int64(70); offset < 73; offset++ {
		images[offset] = w.image(opUpdate, map[string]change.Value{"state": change.OfString("p"), "number": change.OfInt(offset)})
		w.op.Refuse(Place{Topic: "invoices", Offset: offset, Key: "1"}, "record.unknown_schema", errTorn, w)
	}
	again := func(offset int64) {
		t.Helper()
		if v := w.redrive(offset, "1", func(at *Place) change.Verdict {
			at.Key = "1"
			return w.op.Apply(*at, images[offset], w)
		}); v.Kind != change.Pass && v.Kind != change.Drop {
			t.Errorf("%+v", v)
		}
	}
	again(71)
	w.counts(3, 2, 0)
	if r := w.last(); !r.Refuses(change.RefusedRow) || r.Field(canonical.InvoiceNumber).Text() != "71" {
		t.Errorf("%+v", r)
	}
	if w.settled[0].Offset != 70 || w.settled[0].State != letters.Healed || w.settled[1].Offset != 71 || w.settled[1].State != letters.Redriven {
		t.Errorf("settled %+v", w.settled)
	}
	again(70) // nothing goes back in time, and the mark stays
	again(71)
	if r := w.last(); !r.Refuses(change.RefusedRow) || r.Field(canonical.InvoiceNumber).Text() != "71" {
		t.Errorf("%+v", r)
	}
	again(72)
	w.counts(3, 3, 0)
	if r := w.last(); len(r.Refused) > 0 || r.Field(canonical.InvoiceNumber).Text() != "72" {
		t.Errorf("%+v", r)
	}
}

// A record whose letter is settled makes no letter once more, and does no harm to
// its row; one that was never read before does become a letter.
func TestReplayOpensNoSettledLetter(t *testing.T) {
	w := tell(t, invoices())
	w.apply(opCreate, map[string]change.Value{"state": change.OfString("p")})
	refuse := func(at *Place) change.Verdict {
		at.Key = map[int64]string{70: "1", 71: "2"}[at.Offset]
		return w.op.Refuse(*at, "record.avro", errTorn, w)
	}
	for offset := int64(70); offset < 73; offset++ {
		refuse(&Place{Topic: "invoices", Offset: offset})
	}
	w.apply(opUpdate, map[string]change.Value{"state": change.OfString("p")})
	w.op.Discard("2", 71, Act{Who: "ada"}, w)
	w.op.Discard("", 72, Act{Who: "ada"}, w)
	w.counts(3, 3, 0)
	n := len(w.rows)
	for offset := int64(70); offset < 73; offset++ {
		if v := w.redrive(offset, "", refuse); v.Kind != change.Drop || v.Reason != ReasonSettled {
			t.Errorf("offset %d: %+v", offset, v)
		}
	}
	if w.counts(3, 3, 0); len(w.rows) != n || len(w.settled) != 3 {
		t.Errorf("%d rows after %d, settled %+v", len(w.rows), n, w.settled)
	}
	if v := w.redrive(73, "", refuse); v.Kind != change.Park {
		t.Errorf("%+v", v)
	}
	w.counts(4, 3, 1)
	// The topic was made anew: another record has the place.
	at := Place{Topic: "invoices", Offset: 71, Timestamp: 5}
	if v := w.op.Again(&at, "", Act{}, func() change.Verdict { return refuse(&at) }, w); v.Kind != change.Park {
		t.Errorf("%+v", v)
	}
}
