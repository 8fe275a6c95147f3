package change

import "errors"

// Batch is what a sink writes in one go: records of one topic, in parts. The
// same batch is written again until it succeeds, with the same parts and
// ranges, so that a target can tell a repetition by them.
type Batch struct {
	Topic   string
	TopicID [16]byte // zero where the broker has none
	Parts   []Part   // by partition, each partition at most once
}

// Settled is what a target holds of one partition: the offset behind the last
// one that it has taken, and the id of the topic that this offset is of, zero if
// it was not told.
type Settled struct {
	Next    int64
	TopicID [16]byte
}

// Part is a run of one partition. First and Last (inclusive) cover every offset
// consumed, those of transaction markers and of compacted records too, so that
// the parts of a partition join without gaps: First is the Last before it, plus
// one. The next batch of this partition begins at Last+1.
type Part struct {
	Partition   int32
	First, Last int64
	Records     []Record // in offset order; not empty
}

// Record is one record of a part. A nil Value is a tombstone. Timestamp is in
// milliseconds since 1970-01-01 UTC.
type Record struct {
	Offset    int64
	Timestamp int64
	Key       []byte
	Value     []byte
}

// ErrPermanent marks, wrapped, an error of a sink that no repetition can cure:
// the line stops and waits for a human.
var ErrPermanent = errors.New("permanent error")

// ErrTargetLost marks, wrapped, an error of a sink whose target is not what it
// was: a table that is gone or lacks a column. What it holds then has to be asked
// anew before anything more is written.
var ErrTargetLost = errors.New("the target is not what it was")
