package run

import (
	"log/slog"
	"time"

	"syncline/processors/state"
	"syncline/schemas/change"
)

// Message is one input record as a task sees it. Key and Value are valid until
// Process returns; a task that keeps them clones them.
type Message struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64 // record time, milliseconds since 1970-01-01 UTC
	Key       []byte
	Value     []byte        // nil is a tombstone
	Waited    time.Duration // how long this record has waited since the first Wait verdict on it; 0 at the first call
}

// Emitter takes the output records of the transaction under way. It keeps the
// slices until the transaction has ended, so the caller gives them away.
type Emitter interface {
	// Emit queues one record. The partition is PartitionOf(partitionKey, count
	// of partitions of the topic). A nil value is a tombstone.
	Emit(topic string, partitionKey, key, value []byte)
}

// Task is one single-threaded unit of a hop: the records of one input
// partition, in offset order, over its own shard of state. The engine never
// calls two methods of one task at once.
//
// Whatever a task knows must live in the Store it was made with: a transaction
// that does not commit is undone there, and nowhere else. In-memory fields may
// only hold what Flush empties (the dirty set of the batch); Reset empties them
// when a batch is thrown away.
//
// Same records, same state: same outputs. No clock, no randomness, no map
// iteration order in outputs.
type Task interface {
	// Process applies one record and judges it. Output may be emitted here or in
	// Flush. A verdict other than Pass must leave no trace in state, except that
	// Drop may (milestones, counters).
	Process(m *Message, out Emitter) change.Verdict
	// Flush is called once per transaction after its last Process: coalesced
	// results go out here.
	Flush(out Emitter) error
	// Advance does deferred work (a fan-out too large for one transaction), at
	// most about budget output records of it, and says whether more is left. The
	// engine calls it in every transaction after Flush, and in transactions of its
	// own while more is left and no input waits.
	Advance(budget int, out Emitter) (more bool, err error)
	// Reset forgets what a thrown-away batch left in memory outside the Store.
	Reset()
}

// TaskInfo is what a task is made with.
type TaskInfo struct {
	Hop       string
	Topic     string // the input topic
	Partition int32
	Store     state.Store // restored before the task is made
	Log       *slog.Logger
}

// Cleanup is a topic's cleanup policy.
type Cleanup string

// The cleanup policies in use. Internal queues are neither compacted nor aged
// by time: the engine deletes behind their only reader.
const (
	Compact Cleanup = "compact"
	Queue   Cleanup = "queue"
)

// Topic is a topic that the pipelines own, created at start where absent and
// checked where present: a count of partitions that differs stops the start.
type Topic struct {
	Name       string
	Partitions int32
	Cleanup    Cleanup
}

// Hop is one step of the topology.
type Hop struct {
	Name string // part of group and transactional ids; stable for ever
	// Inputs are the topics read. Owned ones (another hop's output) are created;
	// the others belong to sources: an absent one is a warning, and is subscribed
	// when it appears.
	Inputs []string
	// Outputs are all topics this hop may write.
	Outputs []Topic
	// Changelog keeps the state of all tasks of the hop. A task writes to
	// partition TaskPartition(topic, partition, count): for a hop with one owned
	// input of as many partitions that is its own partition number.
	Changelog Topic
	NewTask   func(TaskInfo) (Task, error)
}
