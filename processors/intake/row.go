package intake

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// row makes the canonical row of an image that is to be applied. refused says
// which of its values are not taken, nil for none; err that the row cannot be
// placed at all.
func (k *Intake) row(h header, img Image, old *change.Row) (row change.Row, refused, err error) {
	s := k.src
	row = change.Row{System: s.System, Entity: s.Entity, Part: s.Part, ID: h.id, Topic: s.Topic, Pos: h.pos}
	lives := old != nil && !old.Deleted
	alive := lives && h.op != opCreate // a creation begins a life, also over a row whose end was not told yet
	if alive {
		row.Life = old.Life
	} else if old != nil {
		row.Life = h.pos
	}
	k.refused = k.refused[:0]
	row.Commit = k.commit(h, img)
	if h.snapshot {
		row.Read = h.micros
	}
	row.Displaced = lives && (h.op == opCreate || h.op == opUpdate && old.Displaced && old.Commit == row.Commit)
	if h.op == opDelete {
		row.Deleted = true
		row.Life = h.pos
		if alive {
			row.Doc = old.Doc
		}
		return row, nil, nil
	}
	row.Doc = h.id
	if s.Part != "" {
		if row.Doc, err = k.parent(img, old, alive); err != nil {
			return row, nil, err
		}
	}
	k.fields = slices.Grow(k.fields[:0], len(s.Fields))[:len(s.Fields)]
	row.Fields = k.fields
	for i := range s.Fields {
		v, err := s.Fields[i].value(img)
		need := s.shape.Fields[i].Need
		if err == nil && need && (v.Kind == change.Null || notThere(v) && !alive) {
			err = fmt.Errorf("NULL, but %s needs it", s.Entity)
		}
		if err != nil {
			if err = fmt.Errorf("field %s: %w", s.shape.Fields[i].Name, err); need && !alive {
				return row, nil, err
			}
			k.refuse(i, err)
		}
		switch kept := err != nil || notThere(v); {
		case kept && alive:
			v = old.Field(i)
		case kept:
			if v.Kind == change.Unavailable {
				k.count.Unavailable++
			}
			v = change.Value{}
		}
		row.Fields[i] = v
	}
	if s.Party != nil {
		if row.Party, err = s.Party.value(img); err != nil {
			k.refuse(change.RefusedParty, fmt.Errorf("party: %w", err))
		}
		if err != nil || notThere(row.Party) {
			row.Party = change.Value{}
			if alive {
				row.Party = old.Party
			}
		}
	}
	phase := ""
	if s.phase >= 0 {
		phase = string(row.Fields[s.phase].Bytes)
	}
	row.Times = k.times(h, img, phase)
	refused = k.refusals()
	if alive {
		k.inherit(&row, old, h.snapshot)
	}
	if len(k.refused) > 0 {
		row.Refused = k.refused
	}
	row.Since = row.Commit
	if alive && sameFields(old, &row) {
		row.Since = old.Since
	}
	return row, refused, nil
}

// notThere reports that the source has said nothing about a value: the one known
// before stays.
func notThere(v change.Value) bool { return v.Kind == change.Unavailable || v.Kind == change.Missing }

// parent is the native id of the document that a child row belongs to, "" for
// none.
func (k *Intake) parent(img Image, old *change.Row, alive bool) (string, error) {
	v, err := parentReading.read(img[k.src.parent])
	if v.Kind == change.Unavailable && !alive {
		err = errors.New("its value was not sent, and no earlier one is known")
	}
	switch {
	case err == nil && (!notThere(v) || !alive):
		return unsafe.String(unsafe.SliceData(v.Bytes), len(v.Bytes)), nil // a view, as the row's values are
	case err == nil:
		return old.Doc, nil
	}
	err = fmt.Errorf("parent: column %s: %w", k.src.Parent, err)
	if !alive {
		return "", err
	}
	k.refuse(change.RefusedParent, err)
	return old.Doc, nil
}

// inherit takes over the milestones that earlier images of this life have
// shown. One that was refused stays unknown: a later commit that shows the same
// is not the first, and would be taken for it. Another snapshot can give it.
func (k *Intake) inherit(row, old *change.Row, snapshot bool) {
	for m := range row.Times {
		if f, refused := old.Refusal(change.RefusedCreated - m); refused && !snapshot {
			row.Times[m] = change.Instant{}
			k.refused = append(k.refused, f)
		}
	}
	row.Times.Merge(old.Times)
}

func (k *Intake) refuse(field int, err error) {
	k.refused = append(k.refused, change.Refuse(field, err))
}

// refusals is what a letter says of the values refused so far, nil for none.
func (k *Intake) refusals() error {
	var all []error
	for _, r := range k.refused {
		all = append(all, errors.New(r.Reason))
	}
	return errors.Join(all...)
}

func (k *Intake) phase(img Image) (string, error) {
	if k.src.phase < 0 {
		return "", nil
	}
	v, err := k.src.Fields[k.src.phase].value(img)
	return string(v.Bytes), err
}

// times are the milestones that one image shows.
func (k *Intake) times(h header, img Image, phase string) change.Milestones {
	var m change.Milestones
	for i, r := range k.src.Times {
		if r == nil || len(r.Phases) > 0 && !slices.Contains(r.Phases, phase) {
			continue
		}
		at, err := instant(h, img, r.Snapshot)
		if err != nil {
			k.refuse(change.RefusedCreated-i, fmt.Errorf("milestone %s: %w", change.MilestoneNames[i], err))
			continue
		}
		m[i] = at
	}
	return m
}

// overtakenTimes are those that an overtaken image may still add: not a milestone
// of which an earlier image was refused (see inherit).
func (k *Intake) overtakenTimes(h header, img Image, phase string, old *change.Row) change.Milestones {
	m := k.times(h, img, phase)
	for i := range m {
		if !h.snapshot && old.Refuses(change.RefusedCreated-i) {
			m[i] = change.Instant{}
		}
	}
	return m
}

// commit is the time of the image.
func (k *Intake) commit(h header, img Image) change.Instant {
	at, err := instant(h, img, k.src.Changed)
	if err != nil {
		k.refuse(change.RefusedCommit, fmt.Errorf("commit time: %w", err))
		return change.Instant{Micros: h.micros, Approximate: true}
	}
	return at
}

// instant is the time of an image: the commit, or for a snapshot row, whose
// commit is not known, that of the first of the columns that is not NULL. A
// snapshot row without any has the time when it was read.
func instant(h header, img Image, columns []TimeColumn) (change.Instant, error) {
	if !h.snapshot {
		return change.Instant{Micros: h.micros}, h.untimed
	}
	for i := range columns {
		v := img[columns[i].column]
		if v.IsNull() || v.Kind == change.Unavailable {
			continue
		}
		v, err := reading{kind: change.Timestamp, unit: columns[i].Unit}.read(v)
		if err == nil && v.Int == 0 {
			err = errors.New("1970-01-01 00:00:00 UTC, which stands for a time that is not known: write NULL for it")
		}
		if err != nil {
			return change.Instant{}, fmt.Errorf("column %s: %w", columns[i].Name, err)
		}
		return change.Instant{Micros: v.Int, Approximate: true}, nil
	}
	return change.Instant{Micros: h.micros, Approximate: true}, h.untimed
}

// sameFields reports whether what Since watches is unchanged: the document and
// every field of an identifier.
func sameFields(a, b *change.Row) bool {
	if a.Part != canonical.PartIdentifier {
		return true
	}
	return a.Doc == b.Doc && slices.EqualFunc(a.Fields, b.Fields, change.Value.Equal)
}
