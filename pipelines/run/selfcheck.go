package run

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// partitionID names an input partition, and with it a task.
type partitionID struct {
	topic     string
	partition int32
}

func (p partitionID) String() string { return p.topic + "/" + strconv.Itoa(int(p.partition)) }

// A changelog key is uvarint(length of the task's name), the name, the store's
// key. No task has an empty name, so a first byte of 0 is free for the engine's
// own records: 0, checkKind, the task's name.
const checkKind = 'o'

// keyPrefix begins all changelog keys of a task.
func keyPrefix(id partitionID) []byte {
	name := id.String()
	b := binary.AppendUvarint(make([]byte, 0, len(name)+2), uint64(len(name)))
	return append(b, name...)
}

func checkKey(id partitionID) []byte {
	return append([]byte{0, checkKind}, id.String()...)
}

// splitKey takes a changelog key apart. For one of the engine's own records
// check is true and key is empty.
func splitKey(b []byte) (task, key []byte, check bool, err error) {
	if len(b) >= 2 && b[0] == 0 {
		if b[1] != checkKind {
			return nil, nil, false, fmt.Errorf("changelog key %x: unknown kind %d; it was written by a newer version", b, b[1])
		}
		return b[2:], nil, true, nil
	}
	n, used := binary.Uvarint(b)
	if used <= 0 || n == 0 || n > uint64(len(b)-used) {
		return nil, nil, false, fmt.Errorf("changelog key %x: no task name; something else writes to this topic", b)
	}
	end := used + int(n) //nolint:gosec // below len(b)
	return b[used:end], b[end:], false, nil
}

// selfCheck is the record that every transaction writes for every task it
// touches: what the group's offset must be if the restored state is whole. It
// outlives the broker's expiry of group offsets.
type selfCheck struct {
	Next    int64    // next input offset
	Epoch   int32    // leader epoch of the last input record, -1 unknown
	Count   int32    // partitions of the input topic
	TopicID [16]byte // zero where the broker has none
	Mark    mark     // instructions that the task has obeyed
	Stamp   string   // names the transaction; also the metadata of the group's offset
}

// The second form has the mark, which the first lacks: a task that has never
// heard an instruction writes the first, which older versions read too.
const (
	selfCheckPlain  = 1
	selfCheckMarked = 2
)

func (s selfCheck) append(b []byte) []byte {
	form := byte(selfCheckPlain)
	if s.Mark.below > 0 || len(s.Mark.ahead) > 0 {
		form = selfCheckMarked
	}
	b = append(b, form)
	b = binary.AppendUvarint(b, uint64(s.Next)) //nolint:gosec // offsets are not negative
	b = binary.AppendVarint(b, int64(s.Epoch))
	b = binary.AppendUvarint(b, uint64(s.Count)) //nolint:gosec // counts are positive
	b = append(b, s.TopicID[:]...)
	if form == selfCheckMarked {
		b = binary.AppendUvarint(b, uint64(s.Mark.below)) //nolint:gosec // offsets are not negative
		b = binary.AppendUvarint(b, uint64(len(s.Mark.ahead)))
		for _, offset := range s.Mark.ahead {
			b = binary.AppendUvarint(b, uint64(offset)) //nolint:gosec // offsets are not negative
		}
	}
	return append(b, s.Stamp...)
}

var errSelfCheckForm = errors.New("self-check record is damaged or was written by a newer version")

func parseSelfCheck(b []byte) (selfCheck, error) {
	var s selfCheck
	if len(b) == 0 || b[0] != selfCheckPlain && b[0] != selfCheckMarked {
		return s, errSelfCheckForm
	}
	form := b[0]
	b = b[1:]
	next, n := binary.Uvarint(b)
	if n <= 0 {
		return s, errSelfCheckForm
	}
	b = b[n:]
	epoch, n := binary.Varint(b)
	if n <= 0 {
		return s, errSelfCheckForm
	}
	b = b[n:]
	count, n := binary.Uvarint(b)
	if n <= 0 || len(b)-n < 16 {
		return s, errSelfCheckForm
	}
	b = b[n:]
	s.Next, s.Epoch, s.Count = int64(next), int32(epoch), int32(count) //nolint:gosec // as written above
	copy(s.TopicID[:], b)
	b = b[16:]
	if form == selfCheckMarked {
		if s.Mark, n = parseMark(b); n <= 0 {
			return s, errSelfCheckForm
		}
		b = b[n:]
	}
	s.Stamp = string(b)
	return s, nil
}

// parseMark reads a mark and returns its length, 0 where there is none.
func parseMark(b []byte) (m mark, used int) {
	number := func() int64 {
		v, n := binary.Uvarint(b[max(used, 0):])
		if n <= 0 || used < 0 || v > math.MaxInt64 {
			used = -1
			return 0
		}
		used += n
		return int64(v)
	}
	m.below = number()
	for range min(number(), int64(len(b))) {
		m.ahead = append(m.ahead, number())
	}
	return m, max(used, 0)
}

// position is a committed place in an input partition: the group's offset and
// its metadata, which names the transaction that committed it.
type position struct {
	next  int64 // -1: none
	stamp string
}

func (p position) String() string {
	if p.next < 0 {
		return "none"
	}
	return fmt.Sprintf("%d (transaction %q)", p.next, p.stamp)
}

// checkRestored compares what the changelog says with what the group says, and
// returns the position to go on from.
//
// An absent group offset beside a record is an expired one: the record counts.
func checkRestored(id partitionID, group position, record *selfCheck, topic topicMeta) (position, error) {
	if record == nil {
		if group.next >= 0 {
			return position{}, fmt.Errorf(
				"task %s: the group's offset is %s, but the changelog has no state of this task; "+
					"the changelog was emptied or belongs to another group: restore it, or delete the group's offsets and rebuild from the first offset",
				id, group)
		}
		return position{next: -1}, nil
	}
	if topic.other(topicMeta{id: record.TopicID}) {
		return position{}, &loss{reason: lossRecreated, id: id, next: record.Next, start: -1, end: -1}
	}
	if record.Count != topic.count {
		return position{}, fmt.Errorf(
			"task %s: topic had %d partitions when this state began and has %d now, so keys have moved between partitions; "+
				"put the count back, or rebuild this hop from the first offset",
			id, record.Count, topic.count)
	}
	restored := position{next: record.Next, stamp: record.Stamp}
	if group.next >= 0 && group != restored {
		return position{}, fmt.Errorf(
			"task %s: the restored state ends at %s, the group's offset is %s; state and offsets are not of one transaction: "+
				"if offsets were set by hand, set them back to %d, else rebuild this hop from the first offset",
			id, restored, group, restored.next)
	}
	return restored, nil
}
