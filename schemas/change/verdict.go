package change

// VerdictKind is what becomes of one input record.
type VerdictKind uint8

// The verdicts. The zero value passes.
const (
	Pass VerdictKind = iota // applied
	Drop                    // rightly without effect on state (repeated, stale); counted under Reason
	Park                    // cannot be processed, or not in every value: a letter is written in the same transaction, the rest goes on
	Wait                    // cannot be processed yet (unknown schema id): its partition pauses at this record and asks again
	Stop                    // going on would be wrong (a restored source, a broken invariant): the task stops loudly
)

// Verdict judges one record. Reason is a stable dotted code (lower case) that
// metrics, letters and documentation share; Err says it in words and may be nil
// for Pass and Drop.
type Verdict struct {
	Kind   VerdictKind
	Reason string
	Err    error
}

// Dropped is the verdict on a record that rightly changes nothing.
func Dropped(reason string) Verdict { return Verdict{Kind: Drop, Reason: reason} }

// Parked is the verdict on a record that becomes a letter.
func Parked(reason string, err error) Verdict { return Verdict{Kind: Park, Reason: reason, Err: err} }

// Waiting is the verdict on a record that is asked again later.
func Waiting(reason string, err error) Verdict { return Verdict{Kind: Wait, Reason: reason, Err: err} }

// Stopped is the verdict on a record that stops its task.
func Stopped(reason string, err error) Verdict { return Verdict{Kind: Stop, Reason: reason, Err: err} }

// Letter is a record that could not be processed (a dead letter), with all that
// is needed to explain it and to put it back: its place, its original bytes and
// the reason. State is the state in which a later version leaves it (see package
// processors/letters); "" is open. Such a version has no bytes.
type Letter struct {
	Subject

	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64 // record time, milliseconds since 1970-01-01 UTC
	Key       []byte
	Value     []byte
	Hop       string
	Reason    string
	Message   string

	Fingerprint string // of its cause; "" is computed from reason, topic and message
	Attempts    int32  // how often the record could not be taken
	State       string
	Who, Why    string // of the operator who has settled it
	Instruction string
}

// Subject is the row that a letter is about, as far as it is known.
type Subject struct {
	System, Entity, Part string
	ID                   string // native id of the row
	Document             string // native id of its document
}

// SubjectError is an error about a row, for the letter that it becomes.
type SubjectError struct {
	Subject
	Attempts int32
	Err      error
}

func (e *SubjectError) Error() string { return e.Err.Error() }

// Unwrap returns the error itself.
func (e *SubjectError) Unwrap() error { return e.Err }
