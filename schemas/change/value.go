// Package change holds the shapes that every folder passes on: the value of a
// field, the image of a source row, the canonical row, the document, and the
// verdict on a record. It imports nothing of the project.
package change

// Kind tells how a Value is to be read.
type Kind uint8

// The kinds of value. The zero Value is Null.
const (
	Null        Kind = iota // the source says NULL
	Missing                 // the writer's schema has no such field and no default applies
	Unavailable             // the source did not send it (Debezium's placeholder): keep what you have
	Bool                    // Int is 0 or 1
	Int                     // Int
	Double                  // Int holds math.Float64bits
	Decimal                 // unscaled Int with Scale; where 64 bits do not suffice, Bytes holds the unscaled number, two's complement, big-endian, and Int is 0
	String                  // Bytes, UTF-8
	Bytes                   // Bytes
	Date                    // Int: days since 1970-01-01
	Timestamp               // Int: microseconds since 1970-01-01 UTC
	Duration                // Int: microseconds
	Nested                  // a nested record that is there; asked for to learn presence only
	Unreadable              // bytes that are no value of their type; Int says why (projection.Fault). Never stored
)

// Value is one decoded field. It is a plain struct, so that a row of them is
// one allocation or none.
//
// Bytes may be a view into the record it was decoded from: it is valid until
// the record's buffer is given back. Clone what must live longer.
type Value struct {
	Bytes []byte
	Int   int64
	Scale int32
	Kind  Kind
}

// IsNull reports whether there is nothing to show: NULL, or a field that the
// writer does not know.
func (v Value) IsNull() bool { return v.Kind == Null || v.Kind == Missing }

// Text returns the bytes of a String or Bytes value as a string (a copy).
func (v Value) Text() string { return string(v.Bytes) }

// Clone returns a copy that shares no memory with v.
func (v Value) Clone() Value {
	if v.Bytes != nil {
		v.Bytes = append([]byte(nil), v.Bytes...)
	}
	return v
}

// OfString returns a String value.
func OfString(s string) Value { return Value{Kind: String, Bytes: []byte(s)} }

// OfInt returns an Int value.
func OfInt(n int64) Value { return Value{Kind: Int, Int: n} }

// OfTimestamp returns a Timestamp value of microseconds since 1970-01-01 UTC.
func OfTimestamp(micros int64) Value { return Value{Kind: Timestamp, Int: micros} }

// OfDate returns a Date value of days since 1970-01-01.
func OfDate(days int64) Value { return Value{Kind: Date, Int: days} }

// OfBool returns a Bool value.
func OfBool(b bool) Value {
	if b {
		return Value{Kind: Bool, Int: 1}
	}
	return Value{Kind: Bool}
}

// Equal reports whether two values are the same in kind and content.
func (v Value) Equal(w Value) bool {
	return v.Kind == w.Kind && v.Int == w.Int && v.Scale == w.Scale && string(v.Bytes) == string(w.Bytes)
}
