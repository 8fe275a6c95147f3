package document

import (
	"encoding/binary"
	"errors"
	"strings"
)

// State keys. Names never hold a NUL, so it separates them; ids are escaped by
// their length.

func appendDocKey(b []byte, system, entity, id string) []byte {
	b = append(append(b, system...), 0)
	b = append(append(b, entity...), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(id))) //nolint:gosec // ids are bounded where they are decoded
	return append(b, id...)
}

func splitDocKey(doc []byte) (system, entity, id string) {
	system, rest, _ := strings.Cut(string(doc), "\x00")
	entity, rest, _ = strings.Cut(rest, "\x00")
	return system, entity, rest[2:]
}

func prefixed(kind byte, doc []byte) []byte {
	return append(append(make([]byte, 0, 1+len(doc)), kind), doc...)
}

// appendRowID ends the key of a document's row. It orders a document's rows: the header first, then parts by name and
// children by the length of their id and the id, which is numeric order for
// numbers.
func appendRowID(b []byte, part, id string) []byte {
	if part == "" {
		return append(b, 0)
	}
	b = append(append(b, 1), part...)
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(id))) //nolint:gosec // as above
	return append(b, id...)
}

// noRoomKey is the key beside a row's for an image that there is no room for.
func noRoomKey(row []byte) []byte { return prefixed('p', row[1:]) }

func isHeader(rest []byte) bool { return len(rest) == 1 && rest[0] == 0 }

func waitKey(topic string, micros int64, doc []byte, id string) []byte {
	b := append(append([]byte{'w'}, topic...), 0)
	b = binary.BigEndian.AppendUint64(b, uint64(max(micros, 0))) //nolint:gosec // not negative
	b = append(append(b, doc...), 0)
	return append(b, id...)
}

func (m *meta) append(b []byte) []byte {
	flags := byte(0)
	if m.shown {
		flags |= 1
	}
	if m.waits {
		flags |= 2
	}
	if m.lacks > 0 {
		flags |= 4 // then the number stands before the party
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, m.version)
	b = binary.AppendUvarint(b, m.rows)
	b = binary.AppendUvarint(b, m.bytes)
	if m.lacks > 0 {
		b = binary.AppendUvarint(b, m.lacks)
	}
	return append(b, m.party...)
}

var errMeta = errors.New("the stored account of a document is cut short")

func decodeMeta(b []byte) (meta, error) {
	var m meta
	if b == nil {
		return m, nil
	}
	m.shown, m.waits = b[0]&1 != 0, b[0]&2 != 0
	numbers := []*uint64{&m.version, &m.rows, &m.bytes, &m.lacks}
	if b[0]&4 == 0 {
		numbers = numbers[:3]
	}
	b = b[1:]
	for _, f := range numbers {
		n, w := binary.Uvarint(b)
		if w <= 0 {
			return m, errMeta
		}
		*f, b = n, b[w:]
	}
	m.party = string(b)
	return m, nil
}

func listKey(doc []byte, part, id string) []byte {
	b := append(append([]byte{'x'}, doc...), part...)
	return append(append(b, 0), id...)
}

func topicOf(waitKey []byte) string {
	t, _, _ := strings.Cut(string(waitKey[1:]), "\x00")
	return t
}

func (w Waiting) append(b []byte) []byte {
	for _, n := range [...]int64{w.Version, w.Rows, w.Since, w.Letters, w.Healed} {
		b = binary.AppendVarint(b, n)
	}
	return b
}

func decodeWaiting(topic string, b []byte) Waiting {
	w := Waiting{Topic: topic}
	for _, f := range [...]*int64{&w.Version, &w.Rows, &w.Since, &w.Letters, &w.Healed} {
		n, width := binary.Varint(b)
		if width <= 0 {
			break
		}
		*f, b = n, b[width:]
	}
	return w
}
