package sinks

import (
	"context"
	"fmt"
	"slices"
)

// Probe is a record that is known to be there, and a command that finds it.
type Probe struct {
	Command Command
	ID      string // native
}

// Look asks the target for a command's records. "None" counts only from a target
// that shows what is known to be there: with a probe it is asked for, too.
func Look(ctx context.Context, w Writer, c Command, probe *Probe) ([]Found, error) {
	found, err := w.Find(ctx, c)
	if err != nil || len(found) > 0 || probe == nil {
		return found, err
	}
	known, err := w.Find(ctx, probe.Command)
	if err != nil {
		return nil, fmt.Errorf("looking for a known record: %w", err)
	}
	if !slices.ContainsFunc(known, func(f Found) bool { return f.ID == probe.ID }) {
		return nil, fmt.Errorf("record %s: %w", probe.ID, ErrBlind)
	}
	return nil, nil
}

// Judge says what a complete look means for a command: an outcome, if the look
// settles it, or the record to go on from, or neither if nothing is there.
func Judge(c Command, found []Found) (*Outcome, *Found) {
	if c.NativeID != "" {
		return judgeChange(c, found)
	}
	var live, dead, others []Found
	for _, f := range found {
		switch {
		case f.Key == c.ID && f.Live:
			live = append(live, f)
		case f.Key == c.ID:
			dead = append(dead, f)
		case f.InLane && f.Live && f.ID != c.Predecessor:
			others = append(others, f)
		}
	}
	switch {
	case len(live)+len(others) > 1:
		o := Outcome{Class: ClassSeveral}
		for _, f := range append(live, others...) {
			o.Others = append(o.Others, f.ID)
		}
		return &o, nil
	case len(live) == 1 && !live[0].Done:
		return nil, &live[0]
	case len(live) == 1:
		return there(ClassFound, live[0]), nil
	case len(others) == 1:
		return there(ClassFound, others[0]), nil // made by hand
	case len(dead) > 0:
		return there(ClassFoundEnded, dead[0]), nil
	default:
		return nil, nil
	}
}

func judgeChange(c Command, found []Found) (*Outcome, *Found) {
	at := slices.IndexFunc(found, func(f Found) bool { return f.ID == c.NativeID })
	if at < 0 {
		return &Outcome{Class: ClassRejected, Reason: ReasonGone, ID: c.NativeID}, nil
	}
	f := found[at]
	switch {
	case c.Bears != "" && f.Key != c.Bears:
		return &Outcome{
			Class: ClassRejected, Reason: ReasonOtherRecord, ID: f.ID,
			Words: fmt.Sprintf("record %s bears the key %q, not %q", f.ID, f.Key, c.Bears),
		}, nil
	case f.Done:
		return there(ClassFound, f), nil
	case !f.Live:
		return there(ClassFoundEnded, f), nil
	default:
		return nil, &f
	}
}

func there(class Class, f Found) *Outcome {
	return &Outcome{Class: class, ID: f.ID, Version: f.Version, Values: f.Values}
}
