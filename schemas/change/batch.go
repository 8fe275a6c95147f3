package change

// Batch is a run of records of one topic on its way into a sink. The engine
// fills it from committed records only.
type Batch struct {
	Topic string
	Parts []Part
}

// Part is a batch's share of one partition: the offsets First to Last, both
// inclusive. Offsets in between without a record (transaction markers, records
// compacted away) are part of the range.
type Part struct {
	Partition   int32
	First, Last int64
	Records     []Record
}

// Record is one record of an internal or canonical topic. Key and Value are
// valid until the call they are passed to returns. A nil Value is a tombstone.
type Record struct {
	Offset    int64
	Timestamp int64 // milliseconds since 1970-01-01 UTC
	Key       []byte
	Value     []byte
}
