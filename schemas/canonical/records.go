package canonical

import "syncline/schemas/change"

// The records of the canonical topics, one struct per file of schemas/avsc, are
// in records_gen.go. A nil pointer, a nil Decimal, is NULL; a nil list is an
// empty one. Times are microseconds since 1970-01-01 UTC (of a letter's record
// milliseconds), dates are days since then.

// Head returns the envelope itself: with it every record struct of this package
// shows its envelope without a type switch.
func (e *Envelope) Head() *Envelope { return e }

// The forms of a source value in a record; NULL for a value of another kind.

func textOf(v change.Value) *string {
	if v.Kind != change.String {
		return nil
	}
	s := v.Text()
	return &s
}

func boolOf(v change.Value) *bool {
	if v.Kind != change.Bool {
		return nil
	}
	b := v.Int == 1
	return &b
}

func dateOf(v change.Value) *int32 {
	if v.Kind != change.Date {
		return nil
	}
	d := int32(v.Int) //nolint:gosec // Avro dates are 32 bits
	return &d
}
