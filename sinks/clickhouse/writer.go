package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// Writer writes batches of topics into their tables. It is safe for concurrent
// use; batches of one topic are written one after the other, those of different
// topics side by side.
type Writer struct {
	opts    Options
	schemas canonical.Schemas
	conn    driver.Conn
	tables  map[string]*slot
	closing sync.Once
}

// slot is a table with what it keeps from one insert to the next.
type slot struct {
	record string
	name   string
	mu     sync.Mutex
	ins    inserter
}

// inserter decodes a piece and sends it as one block.
type inserter interface {
	statement(database string) string
	columnNames() []string
	insert(ctx context.Context, w *Writer, p piece) error
}

// Open returns a writer. It does not speak to the server yet: an address that
// does not answer is the first Write's error.
func Open(opts Options, schemas canonical.Schemas) (*Writer, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("opening ClickHouse: %w", err)
	}
	w := &Writer{opts: opts, schemas: schemas, tables: map[string]*slot{}}
	for _, t := range targets() {
		topic := opts.Topic(t.of())
		ins, err := t.inserter(topic, schemas)
		if err != nil {
			return nil, fmt.Errorf("opening ClickHouse: %w", err)
		}
		w.tables[topic] = &slot{record: t.of(), name: t.name(), ins: ins}
	}
	if w.conn, err = clickhouse.Open(opts.client(opts.Database)); err != nil {
		return nil, w.broken("opening", "ClickHouse", "", "", "", err)
	}
	return w, nil
}

// Close ends the connections. Calls under way fail.
func (w *Writer) Close() error {
	var err error
	w.closing.Do(func() { err = w.conn.Close() })
	return err
}

// Write puts the batch into its topic's table. When it returns nil, every
// record is there and [Writer.Resume] reports the offset after each part's
// Last (but for parts without records, which leave no trace). After an error
// nothing is known: the caller sends the same batch again, or stops if the
// error is permanent (see [Error.Permanent]). A record that cannot be decoded,
// and a tombstone, which our own topics never carry, is a permanent error:
// nothing of its insert is written, and it is never passed over.
func (w *Writer) Write(ctx context.Context, b change.Batch) error {
	s, err := w.slot(b.Topic)
	if err != nil {
		return err
	}
	pieces, err := split(b, w.opts.MaxRows, w.opts.MaxBytes)
	if err != nil {
		return w.broken("writing", s.name, ranges(b.Parts), "a batch names the range of offsets that it settles", "this is a fault of the caller: report it", fmt.Errorf("%w: %w", errUnsound, err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range pieces {
		if err := ctx.Err(); err != nil {
			return w.fault("writing", s.name, p.String(), err)
		}
		if err := w.insert(ctx, s, b.Topic, p); err != nil {
			err = w.fault("writing", s.name, p.String(), err)
			switch {
			case held(err):
				return errors.Join(err, w.release(ctx, s.name, "", holdLasts))
			case lostTable(err):
				return w.lostTable(s, err)
			}
			return err
		}
	}
	return nil
}

func (w *Writer) insert(ctx context.Context, s *slot, topic string, p piece) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"async_insert":               0,
		"insert_deduplicate":         1,
		"insert_deduplication_token": p.token(topic, s.ins.statement(w.opts.Database)),
		// The default was 0 on older servers: a view over a table that took the
		// batch once would count it twice.
		"deduplicate_blocks_in_dependent_materialized_views": 1,
		// One insert, one block, one part: it is there or it is not.
		"max_insert_threads":          1,
		"max_insert_block_size":       4_000_000,
		"min_insert_block_size_rows":  0,
		"min_insert_block_size_bytes": 0,
	}))
	return s.ins.insert(ctx, w, p)
}

func (w *Writer) slot(topic string) (*slot, error) {
	s := w.tables[topic]
	if s == nil {
		return nil, w.broken("writing", "topic "+topic, "", "only canonical topics, letters and feeds have a table", "subscribe the sink to the topics that its options name", nil)
	}
	return s, nil
}

// tableInserter is the inserter of one table.
type tableInserter[R any] struct {
	table   table[R]
	topic   string
	decoder *canonical.Decoder
	columns []column[R]
	types   []clickhouse.ColumnNameAndType
	rows    []row[R]
}

func (t table[R]) inserter(topic string, schemas canonical.Schemas) (inserter, error) {
	decoder, err := canonical.NewDecoder(t.record, schemas)
	if err != nil {
		return nil, err
	}
	ins := &tableInserter[R]{table: t, topic: topic, decoder: decoder, columns: t.all(topic)}
	for _, c := range ins.columns {
		ins.types = append(ins.types, clickhouse.ColumnNameAndType{Name: c.name, Type: c.kind})
	}
	return ins, nil
}

func (t *tableInserter[R]) columnNames() []string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return names
}

func (t *tableInserter[R]) statement(database string) string {
	return insertStatement(database, t.table.to, t.columnNames())
}

func (t *tableInserter[R]) insert(ctx context.Context, w *Writer, p piece) (err error) {
	defer func() {
		clear(t.rows) // they point into records that are not ours
		t.rows = t.rows[:0]
	}()
	if err := t.decode(ctx, w, p); err != nil {
		return err
	}
	batch, err := w.conn.PrepareBatch(clickhouse.Context(ctx, clickhouse.WithColumnNamesAndTypes(t.types)), t.statement(w.opts.Database))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = batch.Abort() // the first error counts
		}
	}()
	for i, c := range t.columns {
		if err := c.fill(batch.Column(i), t.rows); err != nil {
			return w.broken("writing", t.table.to, p.String(), "a column must hold every value of its field", "correct the mapping that lets this value through, then rebuild the canonical topic", fmt.Errorf("column %s: %w", c.name, err))
		}
	}
	return batch.Send()
}

func (t *tableInserter[R]) decode(ctx context.Context, w *Writer, p piece) error {
	for _, part := range p.parts {
		for _, r := range part.Records {
			t.rows = append(t.rows, row[R]{topicID: p.topicID, partition: part.Partition, first: part.First, last: part.Last, offset: r.Offset, timestamp: r.Timestamp})
			err := t.decoder.Decode(ctx, r.Value, &t.rows[len(t.rows)-1].rec)
			if err == nil {
				continue
			}
			err = fmt.Errorf("record at partition %d offset %d: %w", part.Partition, r.Offset, err)
			if errors.Is(err, canonical.ErrSchema) {
				return &Error{Op: "writing", Table: t.table.to, Range: p.String(), Err: err, Rule: "the registry must know the schemas of our own topics", Fix: "see that the registry answers", secret: w.opts.Password}
			}
			return w.broken("writing", t.table.to, p.String(), "only our own hops write to "+t.topic+", and every record of theirs can be read", "find out who wrote it; if the topic is damaged, rebuild it", err)
		}
	}
	return nil
}
