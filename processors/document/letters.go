package document

import (
	"encoding/binary"
	"slices"

	"syncline/processors/letters"
	"syncline/schemas/change"
)

// Place is where a row was read.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64 // milliseconds
}

// park makes a letter of a row for which its document has no room. It is kept
// until a newer image of the row has room, or the row is deleted.
func (o *Operator) park(row *change.Row, key []byte, at Place, err error) change.Verdict {
	k := binary.BigEndian.AppendUint64(prefixed('l', key[1:]), uint64(at.Offset)) //nolint:gosec // offsets are not negative
	if o.store.Get(k) == nil {
		o.opened[row.Topic]++
	}
	v := binary.AppendVarint(binary.AppendVarint(nil, int64(at.Partition)), at.Timestamp)
	v = append(append(v, letters.Fingerprint(ReasonTooLarge, at.Topic, err.Error())...), at.Topic...)
	o.store.Put(k, v)
	return change.Parked(ReasonTooLarge, &change.SubjectError{Subject: subject(row), Attempts: 1, Err: err})
}

func subject(row *change.Row) change.Subject {
	return change.Subject{System: row.System, Entity: row.Entity, Part: row.Part, ID: row.ID, Document: row.Doc}
}

// heal settles the letters of a row of which an image is in its document again.
func (o *Operator) heal(row *change.Row, key []byte) {
	prefix := prefixed('l', key[1:])
	var keys, values [][]byte
	o.store.Scan(prefix, func(k, v []byte) bool {
		if len(k) == len(prefix)+8 {
			keys, values = append(keys, slices.Clone(k)), append(values, v)
		}
		return true
	})
	for i, k := range keys {
		o.store.Delete(k)
		partition, w := binary.Varint(values[i])
		timestamp, n := binary.Varint(values[i][max(w, 0):])
		rest := values[i][max(w, 0)+max(n, 0):]
		if len(rest) < letters.FingerprintBytes {
			continue // not written by park
		}
		o.closed[row.Topic]++
		o.over = append(o.over, change.Letter{
			Subject: subject(row), Topic: string(rest[letters.FingerprintBytes:]), Partition: int32(partition), //nolint:gosec // written from an int32
			Offset: int64(binary.BigEndian.Uint64(k[len(prefix):])), Timestamp: timestamp, //nolint:gosec // written from an int64
			Hop: "document", Reason: ReasonTooLarge, Fingerprint: string(rest[:letters.FingerprintBytes]), Attempts: 1, State: letters.Healed,
		})
	}
}
