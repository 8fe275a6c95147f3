package workload

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// RecordingWriter writes a feed into a folder in the form that Open reads. Use
// it from one goroutine.
type RecordingWriter struct {
	file    *os.File
	zip     *gzip.Writer
	lines   *bufio.Writer
	offsets map[string]int64
}

// NewRecordingWriter makes the folder and writes the schemas, whose IDs are those
// in the records' frames. hostile says that there are records that are no Avro.
func NewRecordingWriter(dir string, schemas []Schema, hostile bool) (*RecordingWriter, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making folder for the feed: %w", err)
	}
	texts, subjects := make(map[int]json.RawMessage), make(map[string][]int)
	for _, s := range schemas {
		texts[s.ID] = json.RawMessage(s.Text)
		subjects[s.Subject] = append(subjects[s.Subject], s.ID)
	}
	b, err := json.Marshal(map[string]any{"schemas": texts, "subjects": subjects, "hostile": hostile})
	if err != nil {
		return nil, fmt.Errorf("writing schemas: %w", err)
	}
	if err := writeGzip(filepath.Join(dir, "schemas.json.gz"), b); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(dir, "changes.jsonl.gz"))
	if err != nil {
		return nil, fmt.Errorf("making file for the records: %w", err)
	}
	w := &RecordingWriter{file: f, zip: gzip.NewWriter(f), offsets: make(map[string]int64)}
	w.lines = bufio.NewWriterSize(w.zip, 1<<20)
	return w, nil
}

func writeGzip(path string, b []byte) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("making file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z := gzip.NewWriter(f)
	if _, err := z.Write(b); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return z.Close()
}

// Write appends one record.
func (w *RecordingWriter) Write(r Record) error {
	at := fmt.Sprintf("%s/%d", r.Topic, r.Partition)
	l := line{Topic: r.Topic, Partition: r.Partition, Offset: w.offsets[at], TS: r.Timestamp, Key: r.Key, Value: r.Value, Headers: [][2]string{}}
	w.offsets[at]++
	for _, h := range r.Headers {
		l.Headers = append(l.Headers, [2]string{h.Key, base64.StdEncoding.EncodeToString(h.Value)})
	}
	b, err := json.Marshal(l)
	if err == nil {
		_, err = w.lines.Write(append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("writing record to %s: %w", at, err)
	}
	return nil
}

// Close writes what is left.
func (w *RecordingWriter) Close() error {
	if err := errors.Join(w.lines.Flush(), w.zip.Close(), w.file.Close()); err != nil {
		return fmt.Errorf("closing the feed: %w", err)
	}
	return nil
}
