package embedded

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// maxLogBytes bounds a child's log file.
const maxLogBytes = 8 << 20

// boundedLog writes to a file and, when it grows too long, keeps its newer
// half. Native code writes to the same file beside it, so the length is asked
// for, not counted.
type boundedLog struct {
	mu   sync.Mutex
	file *os.File
	max  int64
}

func newBoundedLog(file *os.File, limit int64) *boundedLog {
	return &boundedLog{file: file, max: limit}
}

// Write implements io.Writer.
func (b *boundedLog) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trim()
	return b.file.Write(p)
}

// trim leaves a file alone that is short, or that is no regular file.
func (b *boundedLog) trim() {
	info, err := b.file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() < b.max {
		return
	}
	keep := make([]byte, b.max/2)
	n, _ := b.file.ReadAt(keep, info.Size()-int64(len(keep))) // what cannot be read is dropped
	if b.file.Truncate(0) != nil {
		return
	}
	if _, err := fmt.Fprintf(b.file, "... %d bytes of older log dropped\n", info.Size()-int64(n)); err == nil {
		_, _ = b.file.Write(keep[:n])
	}
}

// openLog opens a child's log for appending, trimmed.
func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening log: %w", err)
	}
	newBoundedLog(f, maxLogBytes).trim()
	return f, nil
}

// lastLines is the end of a log file, to explain a child's death.
func lastLines(path string, n int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	raw, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-n), n))
	if err != nil {
		return ""
	}
	return string(raw)
}
