package oracle

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Limits on a recording's files, which come from outside.
const (
	maxLine     = 16 << 20
	maxDocument = 256 << 20
)

// record is one Kafka record of a recording.
type record struct {
	Topic     string
	Partition int32
	Offset    int64
	Key       []byte
	Value     []byte // nil is a tombstone
}

// finalRows are the databases' last rows: "system.table", then one map a row,
// nil for NULL.
type finalRows map[string][]map[string]*string

// recordedSchemas are the registry's contents beside a recording.
type recordedSchemas struct {
	byID     map[uint32]string
	subjects map[string][]uint32 // in order of registration
}

// openGzip opens a compressed file of a recording.
func openGzip(dir, name string) (io.Reader, func(), error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, nil, fmt.Errorf("opening recording: %w", err)
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("unpacking %s: %w", f.Name(), err)
	}
	return z, func() { _ = z.Close(); _ = f.Close() }, nil
}

// readJSON decodes one compressed JSON document, at most maxDocument long.
func readJSON(dir, name string, into any) error {
	r, closeFile, err := openGzip(dir, name)
	if err != nil {
		return err
	}
	defer closeFile()
	data, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if len(data) > maxDocument {
		return fmt.Errorf("reading %s: longer than %d bytes", name, maxDocument)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	return nil
}

func readFinal(dir string) (finalRows, error) {
	out := finalRows{}
	return out, readJSON(dir, "final.json.gz", &out)
}

func readSchemas(dir string) (recordedSchemas, error) {
	var raw struct {
		Schemas  map[string]json.RawMessage `json:"schemas"`
		Subjects map[string][]uint32        `json:"subjects"`
	}
	if err := readJSON(dir, "schemas.json.gz", &raw); err != nil {
		return recordedSchemas{}, err
	}
	out := recordedSchemas{byID: make(map[uint32]string, len(raw.Schemas)), subjects: raw.Subjects}
	for text, schema := range raw.Schemas {
		id, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return recordedSchemas{}, fmt.Errorf("reading schemas.json.gz: schema id %q is no number", text)
		}
		out.byID[uint32(id)] = string(schema)
	}
	return out, nil
}

// readChanges calls each for every record, in the file's order, which is the
// order of offsets within a partition.
func readChanges(dir string, each func(record) error) error {
	r, closeFile, err := openGzip(dir, "changes.jsonl.gz")
	if err != nil {
		return err
	}
	defer closeFile()
	type partition struct {
		topic string
		n     int32
	}
	next := map[partition]int64{}
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, 0, 1<<20), maxLine)
	for line := 1; scan.Scan(); line++ {
		var raw struct {
			Topic     string      `json:"topic"`
			Partition json.Number `json:"partition"`
			Offset    json.Number `json:"offset"`
			Key       *string     `json:"key"`
			Value     *string     `json:"value"`
		}
		fail := func(what string, err error) error {
			return fmt.Errorf("changes.jsonl.gz, line %d: %s: %w", line, what, err)
		}
		if err := json.Unmarshal(scan.Bytes(), &raw); err != nil {
			return fail("reading", err)
		}
		rec := record{Topic: raw.Topic}
		p, err := strconv.ParseInt(unquote(raw.Partition), 10, 32)
		if err != nil {
			return fail("partition", err)
		}
		rec.Partition = int32(p)
		if rec.Offset, err = strconv.ParseInt(unquote(raw.Offset), 10, 64); err != nil {
			return fail("offset", err)
		}
		at := partition{rec.Topic, rec.Partition}
		if rec.Offset < next[at] {
			return fail("order", fmt.Errorf("offset %d of %s/%d comes after %d", rec.Offset, rec.Topic, rec.Partition, next[at]-1))
		}
		next[at] = rec.Offset + 1
		if raw.Key != nil {
			if rec.Key, err = base64.StdEncoding.DecodeString(*raw.Key); err != nil {
				return fail("key", err)
			}
		}
		if raw.Value != nil {
			if rec.Value, err = base64.StdEncoding.DecodeString(*raw.Value); err != nil {
				return fail("value", err)
			}
		}
		if err := each(rec); err != nil {
			return fail(fmt.Sprintf("record %s/%d/%d", rec.Topic, rec.Partition, rec.Offset), err)
		}
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("reading changes.jsonl.gz: %w", err)
	}
	return nil
}

// RecordCounts counts the records of a recording by topic.
func RecordCounts(dir string) (map[string]int64, error) {
	counts := map[string]int64{}
	return counts, readChanges(dir, func(r record) error {
		counts[r.Topic]++
		return nil
	})
}

func unquote(n json.Number) string { return strings.Trim(string(n), `"`) }

// readOptional returns a file's text, or "" where there is none.
func readOptional(dir, name string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", name, err)
	}
	return string(data), nil
}
