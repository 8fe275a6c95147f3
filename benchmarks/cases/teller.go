package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	firstLSN = 24_000_000 // of a case's first change; each next one is 8 further
	settled  = 1500 * time.Millisecond
)

// firstCommit is the time of a case's first change; each next one is a minute
// later.
var firstCommit = time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)

// teller tells one case to its platform.
type teller struct {
	c       *story
	p       *platform
	ids     map[schemaKey]int
	changes int64 // told
	sent    int64 // records
}

// schemaKey names a registered schema.
type schemaKey struct {
	table, version string
	key            bool
}

func newTeller(c *story, p *platform) *teller {
	return &teller{c: c, p: p, ids: map[schemaKey]int{}}
}

// tell runs the case from an empty folder to its last expectation; nil says
// that all came true.
func (t *teller) tell(ctx context.Context) error {
	if err := t.p.start(ctx); err != nil {
		return err
	}
	topics := map[string]int32{}
	for _, table := range t.c.tables {
		topics[table.topic] = t.partitions(table)
	}
	if err := t.p.createTopics(ctx, topics); err != nil {
		return err
	}
	for name := range t.c.tables {
		if err := t.register(ctx, name, ""); err != nil {
			return err
		}
	}
	for i := range t.c.Steps {
		if err := t.step(ctx, &t.c.Steps[i]); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return t.expect(ctx, t.c.Expect)
}

func (t *teller) partitions(of *table) int32 {
	if of.partitions > 0 {
		return of.partitions
	}
	return t.c.Partitions
}

// table finds a table of the case, in one of its versions.
func (t *teller) table(name, version string) (*table, error) {
	found := t.c.tables[name]
	if found == nil {
		return nil, fmt.Errorf("the case has no table %q", name)
	}
	if version == "" {
		return found, nil
	}
	if found = found.versions[version]; found == nil {
		return nil, fmt.Errorf("table %s has no version %q", name, version)
	}
	return found, nil
}

func (t *teller) register(ctx context.Context, name, version string) error {
	table, err := t.table(name, version)
	if err != nil {
		return err
	}
	if t.ids[schemaKey{name, version, true}], err = t.p.register(ctx, table.topic+"-key", table.keySchema); err != nil {
		return err
	}
	t.ids[schemaKey{name, version, false}], err = t.p.register(ctx, table.topic+"-value", table.envelope)
	return err
}

func (t *teller) step(ctx context.Context, s *step) error {
	o := &s.other
	switch {
	case s.change != nil:
		return t.change(ctx, s.change)
	case o.Wait != nil:
		timer := time.NewTimer(time.Duration(*o.Wait * float64(time.Second)))
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	case o.Settle:
		return t.settle(ctx, within)
	case o.Stop:
		return t.p.stop()
	case o.Start:
		return t.p.start(ctx)
	case o.Restart:
		if err := t.p.stop(); err != nil {
			return err
		}
		return t.p.start(ctx)
	case o.Register != "":
		return t.register(ctx, o.Register, o.Schema)
	case o.Raw != nil:
		return t.raw(ctx, o.Raw)
	case len(o.Expect) > 0:
		return t.expect(ctx, o.Expect)
	}
	return errors.New("says nothing that is known")
}

func (t *teller) raw(ctx context.Context, r *rawRecord) error {
	table, err := t.table(r.Table, "")
	if err != nil {
		return err
	}
	key, err := unhex(r.Key)
	if err != nil {
		return err
	}
	value, err := unhex(r.Value)
	if err != nil {
		return err
	}
	return t.send(ctx, &kgo.Record{Topic: table.topic, Partition: r.Partition, Key: key, Value: value})
}

// unhex keeps nothing apart from an empty text.
func unhex(text *string) ([]byte, error) {
	if text == nil {
		return nil, nil
	}
	b, err := hex.DecodeString(*text)
	return append([]byte{}, b...), err
}

// manner is how a change differs from what is usual.
type manner struct {
	at, schema, snapshot string
	lsn                  *int64
	sequence             any
	keyID, valueID       int
	noKey, before        bool
	cut                  int
	magic                byte
	big                  []any // column, characters
	partition            *int32
}

func (t *teller) usual(op string) manner {
	lsn := firstLSN + 8*t.changes
	m := manner{lsn: &lsn, snapshot: "false", before: true, at: firstCommit.Add(time.Duration(t.changes) * time.Minute).Format(time.RFC3339)}
	if op == "r" {
		m.snapshot = "true"
	}
	m.sequence = sequence(lsn)
	return m
}

func sequence(lsn int64) string {
	text, _ := json.Marshal([]string{strconv.FormatInt(lsn-8, 10), strconv.FormatInt(lsn, 10)}) // of texts: no error
	return string(text)
}

// set takes the fourth part of a change.
func (m *manner) set(how map[string]any) error {
	if v, given := how["lsn"]; given {
		m.lsn, m.sequence = nil, nil
		if v != nil {
			n, err := number(v)
			if err != nil {
				return err
			}
			m.lsn, m.sequence = &n, sequence(n)
		}
	}
	for k, v := range how {
		var n int64
		var err error
		switch k {
		case "lsn":
		case "at":
			m.at = fmt.Sprint(v)
		case "schema":
			m.schema = fmt.Sprint(v)
		case "snapshot":
			m.snapshot = fmt.Sprint(v)
		case "sequence":
			m.sequence = v
		case "big":
			m.big, _ = v.([]any)
		case "key":
			m.noKey = v == false
		case "before":
			m.before = v != false
		case "key_id", "value_id", "cut", "magic", "partition":
			n, err = number(v)
			switch k {
			case "key_id":
				m.keyID = int(n)
			case "value_id":
				m.valueID = int(n)
			case "cut":
				m.cut = int(n)
			case "magic":
				m.magic = byte(n) //nolint:gosec // the case's own number
			default:
				p := int32(n) //nolint:gosec // the case's own number
				m.partition = &p
			}
		default:
			err = fmt.Errorf("a change knows no %s", k)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	return nil
}

func number(v any) (int64, error) { return strconv.ParseInt(fmt.Sprint(v), 10, 64) }

// change tells one change: op, table, values, how.
func (t *teller) change(ctx context.Context, parts []any) error {
	var texts [2]string
	var maps [2]map[string]any
	for i, v := range parts {
		ok := i < 4
		switch {
		case i < 2:
			texts[i], ok = v.(string)
		case i < 4 && v != nil:
			maps[i-2], ok = v.(map[string]any)
		}
		if !ok {
			return fmt.Errorf("a change is [op, table, values, how], not %v", parts)
		}
	}
	op, name, values, m := texts[0], texts[1], maps[0], t.usual(texts[0])
	if err := m.set(maps[1]); err != nil {
		return err
	}
	table, err := t.table(name, m.schema)
	if err != nil {
		return err
	}
	if _, known := t.ids[schemaKey{name, m.schema, false}]; !known {
		if err := t.register(ctx, name, m.schema); err != nil {
			return err
		}
	}
	r := &kgo.Record{Topic: table.topic}
	if !m.noKey && op != "t" {
		if r.Key, err = table.encodeKey(values); err != nil {
			return err
		}
		if m.keyID == 0 {
			m.keyID = t.ids[schemaKey{name, m.schema, true}]
		}
		r.Key = frame(0, m.keyID, r.Key)
	}
	if op != "tombstone" {
		if r.Value, err = t.value(ctx, table, op, values, &m); err != nil {
			return err
		}
	}
	switch {
	case m.partition != nil:
		r.Partition = *m.partition
	case r.Key != nil: // as the client of a connector would
		n := int(t.partitions(table))
		r.Partition = int32(kgo.StickyKeyPartitioner(nil).ForTopic(r.Topic).Partition(r, n)) //nolint:gosec // below the number of partitions
	}
	t.changes++
	return t.send(ctx, r)
}

// value makes the record's value, spoilt as m says.
func (t *teller) value(ctx context.Context, table *table, op string, values map[string]any, m *manner) ([]byte, error) {
	at, err := parseTime(m.at)
	if err != nil {
		return nil, err
	}
	if len(m.big) == 2 {
		n, err := number(m.big[1])
		if err != nil {
			return nil, err
		}
		values = merge(values, map[string]any{fmt.Sprint(m.big[0]): fill(int(n))})
	}
	value, err := table.encode(&change{
		op: op, values: values, at: at, lsn: m.lsn, sequence: m.sequence, snapshot: m.snapshot, number: 701 + t.changes, before: m.before,
	})
	if err != nil {
		return nil, err
	}
	id := t.ids[schemaKey{table.name, m.schema, false}]
	if op == "flat" {
		if id, err = t.p.register(ctx, table.topic+"-value", table.rowSchema); err != nil {
			return nil, err
		}
	}
	if m.valueID != 0 {
		id = m.valueID
	}
	value = frame(m.magic, id, value)
	if m.cut > len(value) {
		return nil, fmt.Errorf("the value has %d bytes, of which %d cannot be cut", len(value), m.cut)
	}
	return value[:len(value)-m.cut], nil
}

func fill(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'x'
	}
	return string(b)
}

func (t *teller) send(ctx context.Context, r *kgo.Record) error {
	if err := t.p.produce(ctx, r); err != nil {
		return fmt.Errorf("producing to %s: %w", r.Topic, err)
	}
	t.sent++
	return nil
}

// settle waits until the views say that every record was received and stay as
// they are for a while. That they never do is no error: what the case expects
// says more.
func (t *teller) settle(ctx context.Context, most time.Duration) error {
	var before string
	since := time.Now()
	err := poll(ctx, 250*time.Millisecond, most, func() (bool, error) {
		rows, err := t.p.query(ctx, "SELECT topic, received, waiting, letters FROM feed_health ORDER BY topic")
		received, now := int64(-1), ""
		if err == nil {
			received = 0
			for _, r := range rows {
				n, _ := number(r["received"])
				received += n
			}
			now = show(rows)
		}
		if now != before {
			before, since = now, time.Now()
		}
		return received >= t.sent && time.Since(since) > settled || t.p.hasEnded(), nil
	})
	if errors.Is(err, errLate) {
		return nil
	}
	return err
}
