// Package workload brings change feeds into topics: the recorded ones, as they
// lie in recorded/, and those of the simulated company in workload/company.
//
// Both come as [Record]s with the id of a schema at the head of key and value
// (Confluent framing) and go out through a [Producer].
package workload

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// Limits on what a recording may hold. They are far above the recorded feeds
// and keep a broken file from filling memory.
const (
	maxLine    = 16 << 20
	maxSchemas = 16 << 20
	maxFinal   = 256 << 20
)

// Partitions is the number of partitions that every topic of a workload has.
const Partitions = 4

// Header is a header of a Kafka record.
type Header struct {
	Key   string
	Value []byte
}

// Record is one Kafka record to be produced. A nil Value is a tombstone, a nil
// Key a record without key.
type Record struct {
	Topic     string
	Partition int32
	Timestamp int64 // milliseconds since 1970-01-01 UTC
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Schema is a schema to be registered under a subject.
type Schema struct {
	Subject string
	ID      int // id in the recording; 0 where there is none yet
	Text    string
}

// Registrar registers schemas, as a schema registry does: the same schema under
// the same subject gives the same id.
type Registrar interface {
	Register(ctx context.Context, subject, schema string) (id int, err error)
}

// Producer takes records. Records of one partition are kept in the order in
// which they come.
type Producer interface {
	// CreateTopics creates the topics that do not exist. A topic that exists
	// with another number of partitions is an error.
	CreateTopics(ctx context.Context, topics []string, partitions int32) error
	// Produce takes a record, whose bytes it may keep. It may block for
	// back-pressure; an earlier record's failure may come back from it.
	Produce(ctx context.Context, r Record) error
	// Flush waits until all records are written and returns the first failure.
	Flush(ctx context.Context) error
}

// Recording is a recorded feed in a folder: changes.jsonl.gz, schemas.json.gz,
// final.json.gz and truth-*.json. A generated feed (see RecordingWriter) has the
// first two. Where schemas.json.gz says "hostile", the feed has records on
// purpose that are no Avro, which Load leaves as they are.
type Recording struct {
	dir     string
	schemas []Schema
	hostile bool
}

// Open reads a recording's schemas. Records are read by Records.
func Open(dir string) (*Recording, error) {
	r := &Recording{dir: dir}
	if err := r.readSchemas(); err != nil {
		return nil, fmt.Errorf("opening recording %s: %w", dir, err)
	}
	return r, nil
}

func (r *Recording) readSchemas() error {
	var file struct {
		Schemas  map[int]json.RawMessage `json:"schemas"`
		Subjects map[string][]int        `json:"subjects"`
		Hostile  bool                    `json:"hostile"`
	}
	if err := r.readJSON("schemas.json.gz", maxSchemas, &file); err != nil {
		return err
	}
	r.hostile = file.Hostile
	for subject, ids := range file.Subjects {
		for _, id := range ids {
			text, ok := file.Schemas[id]
			if !ok {
				return fmt.Errorf("schemas.json.gz: subject %s has id %d, which is not among the schemas", subject, id)
			}
			r.schemas = append(r.schemas, Schema{Subject: subject, ID: id, Text: string(text)})
		}
	}
	// Ids were given in order of registration.
	slices.SortFunc(r.schemas, func(a, b Schema) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Subject, b.Subject))
	})
	return nil
}

// Schemas returns the recording's schemas in order of registration, one element
// per subject and id.
func (r *Recording) Schemas() []Schema { return slices.Clone(r.schemas) }

// Subjects returns the ids of each subject in order of registration.
func (r *Recording) Subjects() map[string][]int {
	out := make(map[string][]int)
	for _, s := range r.schemas {
		out[s.Subject] = append(out[s.Subject], s.ID)
	}
	return out
}

// Final is the final rows of the captured tables: by "<system>.<table>", each
// row the text of every column, nil for NULL.
type Final map[string][]map[string]*string

// Final reads the rows that the databases held at the end.
func (r *Recording) Final() (Final, error) {
	var out Final
	if err := r.readJSON("final.json.gz", maxFinal, &out); err != nil {
		return nil, fmt.Errorf("reading final rows of %s: %w", r.dir, err)
	}
	return out, nil
}

// Truth reads the truth files, by file name.
func (r *Recording) Truth() (map[string]json.RawMessage, error) {
	paths, err := filepath.Glob(filepath.Join(r.dir, "truth-*.json"))
	if err != nil {
		return nil, fmt.Errorf("listing truth files of %s: %w", r.dir, err)
	}
	out := make(map[string]json.RawMessage, len(paths))
	for _, p := range paths {
		var raw json.RawMessage
		b, err := os.ReadFile(p)
		if err == nil {
			err = json.Unmarshal(b, &raw)
		}
		if err != nil {
			return nil, fmt.Errorf("reading truth file %s: %w", p, err)
		}
		out[filepath.Base(p)] = raw
	}
	return out, nil
}

func (r *Recording) readJSON(name string, limit int64, into any) (err error) {
	in, err := openGzip(filepath.Join(r.dir, name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	b, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return fmt.Errorf("%s is over %d bytes; is it a recording?", name, limit)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("parsing %s: %w", name, err)
	}
	return nil
}

// line is the JSON form of a record. Absent and null bytes are nil.
type line struct {
	Topic     string      `json:"topic"`
	Partition int32       `json:"partition"`
	Offset    int64       `json:"offset"`
	TS        int64       `json:"ts"`
	Key       []byte      `json:"key"`
	Value     []byte      `json:"value"`
	Headers   [][2]string `json:"headers"`
}

// Records reads changes.jsonl.gz and hands over record after record, ids as
// recorded. It stops at the first error, its own or the callback's. Errors name
// the line.
func (r *Recording) Records(ctx context.Context, each func(Record) error) (err error) {
	const name = "changes.jsonl.gz"
	in, err := openGzip(filepath.Join(r.dir, name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	next := make(map[string]int64)
	n := 0
	for lines.Scan() {
		n++
		if err := ctx.Err(); err != nil {
			return err
		}
		rec, err := parseLine(lines.Bytes(), next)
		if err == nil {
			err = each(rec)
		}
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", name, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return fmt.Errorf("%s, line %d: longer than %d bytes", name, n+1, maxLine)
		}
		return fmt.Errorf("%s, line %d: %w", name, n+1, err)
	}
	return nil
}

// parseLine checks that offsets follow each other, for the order of a partition
// is all that a feed promises.
func parseLine(text []byte, next map[string]int64) (Record, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return Record{}, fmt.Errorf("parsing: %w", err)
	}
	if l.Topic == "" || l.Partition < 0 || l.Partition >= Partitions {
		return Record{}, fmt.Errorf("topic %q, partition %d: want a topic and a partition below %d", l.Topic, l.Partition, Partitions)
	}
	at := fmt.Sprintf("%s/%d", l.Topic, l.Partition)
	if l.Offset != next[at] {
		return Record{}, fmt.Errorf("%s has offset %d where %d is next", at, l.Offset, next[at])
	}
	next[at]++
	rec := Record{Topic: l.Topic, Partition: l.Partition, Timestamp: l.TS, Key: l.Key, Value: l.Value}
	for _, h := range l.Headers {
		v, err := base64.StdEncoding.DecodeString(h[1])
		if err != nil {
			return Record{}, fmt.Errorf("header %s: %w", h[0], err)
		}
		rec.Headers = append(rec.Headers, Header{Key: h[0], Value: v})
	}
	return rec, nil
}

// LoadOptions steer Load. The zero value loads as fast as it goes.
type LoadOptions struct {
	// Progress is called after every 1,000 records and at the end, if set.
	Progress func(records int)
	// Rate is the greatest number of records a second; 0 has no limit.
	Rate float64
}

// Load registers the recording's schemas under their subjects in order of
// registration, creates its topics and produces its records with the new ids in
// keys and values. Topic, partition, order, time and headers stay. It returns
// the number of records written.
func (r *Recording) Load(ctx context.Context, reg Registrar, to Producer, opts LoadOptions) (int, error) {
	ids, err := r.register(ctx, reg)
	if err != nil {
		return 0, err
	}
	var topics []string
	seen := make(map[string]bool)
	err = r.Records(ctx, func(rec Record) error {
		if !seen[rec.Topic] {
			seen[rec.Topic] = true
			topics = append(topics, rec.Topic)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("loading %s: %w", r.dir, err)
	}
	if err := to.CreateTopics(ctx, topics, Partitions); err != nil {
		return 0, fmt.Errorf("creating topics: %w", err)
	}
	n := 0
	pace := newPacer(opts.Rate)
	err = r.Records(ctx, func(rec Record) error {
		if err := ids.rewrite(&rec, r.hostile); err != nil {
			return err
		}
		if err := pace.wait(ctx); err != nil {
			return err
		}
		if err := to.Produce(ctx, rec); err != nil {
			return fmt.Errorf("producing to %s/%d: %w", rec.Topic, rec.Partition, err)
		}
		n++
		if opts.Progress != nil && n%1000 == 0 {
			opts.Progress(n)
		}
		return nil
	})
	if err != nil {
		return n, fmt.Errorf("loading %s: %w", r.dir, err)
	}
	if err := to.Flush(ctx); err != nil {
		return n, fmt.Errorf("loading %s: waiting for the last records: %w", r.dir, err)
	}
	if opts.Progress != nil {
		opts.Progress(n)
	}
	return n, nil
}

// newIDs maps recorded ids to those of a registry. A registry may give the same
// schema another id under another subject, hence by subject.
type newIDs map[string]map[int]int

func (r *Recording) register(ctx context.Context, reg Registrar) (newIDs, error) {
	ids := make(newIDs)
	for _, s := range r.schemas {
		id, err := reg.Register(ctx, s.Subject, s.Text)
		if err != nil {
			return nil, fmt.Errorf("registering schema %d of the recording under %s: %w", s.ID, s.Subject, err)
		}
		if ids[s.Subject] == nil {
			ids[s.Subject] = make(map[int]int)
		}
		ids[s.Subject][s.ID] = id
	}
	return ids, nil
}

func (ids newIDs) rewrite(rec *Record, hostile bool) error {
	for _, part := range [...]struct {
		suffix string
		bytes  []byte
	}{{"-key", rec.Key}, {"-value", rec.Value}} {
		if part.bytes == nil {
			continue
		}
		old, err := frameID(part.bytes)
		if err != nil && hostile {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s of %s: %w", part.suffix[1:], rec.Topic, err)
		}
		id, ok := ids[rec.Topic+part.suffix][old]
		if !ok && hostile {
			continue
		}
		if !ok {
			return fmt.Errorf("%s of %s has schema id %d, which its subject does not list", part.suffix[1:], rec.Topic, old)
		}
		binary.BigEndian.PutUint32(part.bytes[1:], uint32(id))
	}
	return nil
}

// frameID reads the id of Confluent framing: a zero byte, then the id as 32 bits
// big-endian.
func frameID(b []byte) (int, error) {
	if len(b) < 5 || b[0] != 0 {
		return 0, errors.New("no Confluent frame (a zero byte and a schema id of four bytes)")
	}
	return int(binary.BigEndian.Uint32(b[1:])), nil
}

type gzipFile struct {
	*gzip.Reader
	file *os.File
}

func openGzip(path string) (*gzipFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening file: %w", err)
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", path, err), f.Close())
	}
	return &gzipFile{Reader: z, file: f}, nil
}

func (g *gzipFile) Close() error { return errors.Join(g.Reader.Close(), g.file.Close()) }
