package run

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// PartitionOf is the partitioner of every topic that the pipelines own:
// xxHash64 of the partition key, modulo the count of partitions. It is part of
// the stored format: changing it needs new topics.
func PartitionOf(key []byte, count int32) int32 {
	return int32(xxhash.Sum64(key) % uint64(count)) //nolint:gosec // below count, which is an int32
}

// TaskPartition is the changelog partition of the task of an input partition,
// for hops whose tasks share a changelog (several input topics).
func TaskPartition(topic string, partition, count int32) int32 {
	var b []byte
	b = append(b, topic...)
	b = binary.BigEndian.AppendUint32(b, uint32(partition)) //nolint:gosec // bits
	return PartitionOf(b, count)
}
