// Package letters says which of the records that could not be processed have one
// cause, and how often too many of them come.
package letters

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
)

// The states of a letter.
const (
	Open      = "open"
	Healed    = "healed"    // a later good image of the row has superseded it
	Redriven  = "redriven"  // an operator has had it read again, and it could be taken
	Discarded = "discarded" // an operator has said that nobody needs it
)

// What tells two messages of one cause apart: values in quotes, ids, numbers.
var (
	quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	ids    = regexp.MustCompile(`\b[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}\b`)
	// The row that a message begins with may have an id of any form.
	row     = regexp.MustCompile(`^row \S+ of `)
	numbers = regexp.MustCompile(`[0-9]+(?:\.[0-9]+)?`)
)

// Cause is a message without what differs from record to record: letters of one
// cause have the same.
func Cause(message string) string {
	message = row.ReplaceAllString(message, "row … of ")
	message = quoted.ReplaceAllString(message, `"…"`)
	message = ids.ReplaceAllString(message, "…")
	return numbers.ReplaceAllString(message, "#")
}

// FingerprintBytes is how long a fingerprint is.
const FingerprintBytes = 12

// Fingerprint names the cause of a letter in twelve letters and digits.
func Fingerprint(reason, topic, message string) string {
	sum := sha256.Sum256([]byte(reason + "\x00" + topic + "\x00" + Cause(message)))
	return hex.EncodeToString(sum[:FingerprintBytes/2])
}

// Limit is how many letters a feed may have among its last records before it
// stops: as many as Count, if they are Percent of the records too. 0 as Count is
// no limit.
type Limit struct{ Count, Percent int }

// The window of a feed: so many parts of so many records each.
const (
	parts     = 10
	partTotal = 1000
)

// Window counts the letters among the last records of a feed, ten thousand of
// them. The zero value has seen nothing.
type Window struct {
	seen    uint32        // records of the part under way
	full    uint32        // parts before it that count
	letters [parts]uint32 // of the part under way, then of those before it
}

// Record counts one record.
func (w *Window) Record() {
	if w.seen == partTotal {
		copy(w.letters[1:], w.letters[:parts-1])
		w.letters[0], w.seen = 0, 0
		w.full = min(w.full+1, parts-1)
	}
	w.seen++
}

// Letter counts the record that was counted last as a letter.
func (w *Window) Letter() { w.letters[0]++ }

// Letters and Records are what the window holds.
func (w *Window) Letters() (n int) {
	for _, l := range w.letters {
		n += int(l)
	}
	return n
}

// Records is how many records the window holds.
func (w *Window) Records() int { return int(w.full)*partTotal + int(w.seen) }

// Exceeds says why a feed with this window must stop; nil if it need not.
func (w *Window) Exceeds(l Limit) error {
	n, of := w.Letters(), w.Records()
	if l.Count <= 0 || n < l.Count || n*100 < l.Percent*of {
		return nil
	}
	return fmt.Errorf("%d of the last %d records became letters; the limit is %d and %d %% (letter_limit, letter_percent)", n, of, l.Count, l.Percent)
}

// Append stores a window.
func (w *Window) Append(b []byte) []byte {
	b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(w.seen)), uint64(w.full))
	for _, l := range w.letters {
		b = binary.AppendUvarint(b, uint64(l))
	}
	return b
}

// DecodeWindow reads what Append wrote; from anything else comes a window that
// has seen nothing.
func DecodeWindow(b []byte) (w Window) {
	fields := []*uint32{&w.seen, &w.full}
	for i := range w.letters {
		fields = append(fields, &w.letters[i])
	}
	for _, f := range fields {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > partTotal {
			return Window{}
		}
		*f, b = uint32(n), b[size:]
	}
	return w
}
