package intake

import "encoding/binary"

// Counters are what one task has counted of its topic since the first record.
// They are state like any other, so a replay or a crash cannot count twice.
type Counters struct {
	Version       int64
	Received      int64
	Repeated      int64
	Stale         int64
	BelowSnapshot int64
	Tombstones    int64
	Letters       int64
	Healed        int64
	Unavailable   int64
	retired       int64
	LastEvent     int64 // greatest commit time, microseconds
	LastSeen      int64 // greatest record time, milliseconds
	Suspected     int64 // rows whose newest image looks like that of a restored database
	RestoredAt    int64 // earliest time of those, microseconds
	Swept         int64 // rows that a full snapshot did not have
	SweepHeld     int64 // rows that a sweep would delete, which waits for a person
	LastUnkeyed   int64 // record time of the last letter that names no row, milliseconds
	Unplaced      int64 // open letters of which no living row is known
}

var countersKey = []byte("c")

func (c *Counters) fields() [18]*int64 {
	return [...]*int64{&c.Version, &c.Received, &c.Repeated, &c.Stale, &c.BelowSnapshot, &c.Tombstones, &c.Letters, &c.Healed, &c.Unavailable, &c.retired, &c.LastEvent, &c.LastSeen, &c.Suspected, &c.RestoredAt, &c.Swept, &c.SweepHeld, &c.LastUnkeyed, &c.Unplaced}
}

func (c *Counters) append(b []byte) []byte {
	for _, f := range c.fields() {
		b = binary.AppendVarint(b, *f)
	}
	return b
}

// decodeCounters reads what append wrote; fields added later are zero.
func decodeCounters(b []byte) Counters {
	var c Counters
	for _, f := range c.fields() {
		n, w := binary.Varint(b)
		if w <= 0 {
			break
		}
		*f, b = n, b[w:]
	}
	return c
}
