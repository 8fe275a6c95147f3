package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
)

// Log is the append-only, totally ordered store under a [Server]: in
// production one partition of a compacted topic. Implementations must be safe
// for concurrent use. Several servers may share one log.
type Log interface {
	// Append adds a record at the end. A nil error means that the record is
	// durable and that every later Read sees it. Any error means that the
	// outcome is unknown: the record may still appear, even later on.
	Append(ctx context.Context, key, value []byte) error

	// Read calls fn for each record from offset from on, in order, at least
	// up to the end as it was when Read was called, and returns the offset
	// to go on from. fn must not keep key or value. Offsets start at 0 and
	// may have gaps where a newer record with the same key replaced an older
	// one. An error of fn ends the read and is returned; then next is the
	// offset of the record that fn refused. Records that existed at or after
	// from and have been lost other than by replacement are an error.
	Read(ctx context.Context, from int64, fn func(key, value []byte) error) (next int64, err error)
}

// MemoryLog is a [Log] that lives as long as the process: for tests and for
// trying things out. The zero value is not ready; use [NewMemoryLog].
type MemoryLog struct {
	mu      sync.Mutex
	records []memoryRecord
}

type memoryRecord struct{ key, value []byte }

// NewMemoryLog returns an empty log.
func NewMemoryLog() *MemoryLog { return &MemoryLog{} }

// Append implements [Log]. It fails only on an ended context, before adding.
func (l *MemoryLog) Append(ctx context.Context, key, value []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("appending to the memory log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, memoryRecord{bytes.Clone(key), bytes.Clone(value)})
	return nil
}

// Read implements [Log].
func (l *MemoryLog) Read(ctx context.Context, from int64, fn func(key, value []byte) error) (int64, error) {
	if from < 0 {
		return from, errors.New("reading the memory log: negative offset")
	}
	l.mu.Lock()
	records := l.records
	l.mu.Unlock()
	next := from
	for next < int64(len(records)) {
		if err := ctx.Err(); err != nil {
			return next, fmt.Errorf("reading the memory log: %w", err)
		}
		if err := fn(records[next].key, records[next].value); err != nil {
			return next, err
		}
		next++
	}
	return next, nil
}
