package pipelines

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"syncline/pipelines/run"
	"syncline/processors/intake"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
	"syncline/schemas/projection"
	"syncline/schemas/registry"
)

// The reasons for which a record cannot be read at all.
const (
	reasonFrame         = "record.frame"
	reasonUnknownSchema = "record.unknown_schema"
	reasonNoRegistry    = "registry.unreachable"
	reasonSchema        = "record.schema"
	reasonAvro          = "record.avro"
)

// intakeTask decodes source records for the intake operator.
type intakeTask struct {
	config  *Config
	src     *intake.Source
	op      *intake.Intake
	plans   *plans
	records *records
	info    run.TaskInfo
	image   intake.Image
	key     []change.Value
}

func (t *intakeTask) Process(m *run.Message, out run.Emitter) change.Verdict {
	at := intake.Place{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Timestamp: m.Timestamp}
	if m.Value == nil {
		return t.op.Tombstone(at)
	}
	o := intakeOutput{out: out, records: t.records}
	if t.image == nil {
		t.image = make(intake.Image, len(t.src.Want()))
		t.key = make([]change.Value, len(t.src.Key))
	}
	size := len(m.Key) + len(m.Value)
	if len(m.Key) <= t.config.MaxRecordBytes {
		// The key first: whatever the value is, the letter is then its row's.
		if v := t.decode(m, at, m.Key, t.plans.key, t.key, o); v.Kind != change.Pass {
			return v
		}
		id, err := t.src.KeyID(t.key)
		if err != nil {
			return t.op.Refuse(at, intake.ReasonKey, err, o)
		}
		at.Key = id
	}
	if size > t.config.MaxRecordBytes {
		return t.op.Refuse(at, intake.ReasonTooLarge, fmt.Errorf("the record has %d bytes, the limit is %d: raise max_record_bytes if this is real data", size, t.config.MaxRecordBytes), o)
	}
	if v := t.decode(m, at, m.Value, t.plans.value, t.image, o); v.Kind != change.Pass {
		return v
	}
	return t.op.Apply(at, t.image, o)
}

// decode reads a key or a value into into, or says what becomes of the record.
func (t *intakeTask) decode(m *run.Message, at intake.Place, framed []byte, find func(*intake.Source, int) (*projection.Plan, error), into []change.Value, out intake.Output) change.Verdict {
	id, payload, err := registry.Unframe(framed)
	if err != nil {
		return t.op.Refuse(at, reasonFrame, err, out)
	}
	plan, err := find(t.src, id)
	switch {
	case err == nil:
	case errors.Is(err, registry.ErrUnknownID):
		if m.Waited < t.config.UnknownSchemaWait {
			return change.Waiting(reasonUnknownSchema, err)
		}
		return t.op.Refuse(at, reasonUnknownSchema, fmt.Errorf("schema id %d has not appeared in %s: %w", id, t.config.UnknownSchemaWait, err), out)
	case errors.Is(err, registry.ErrUnreachable):
		return change.Waiting(reasonNoRegistry, err)
	default:
		return t.op.Refuse(at, reasonSchema, fmt.Errorf("schema id %d: %w", id, err), out)
	}
	if err := plan.Decode(payload, into); err != nil {
		return t.op.Refuse(at, reasonAvro, fmt.Errorf("schema id %d: %w", id, err), out)
	}
	return change.Verdict{}
}

func (t *intakeTask) Flush(out run.Emitter) error {
	c, changed := t.op.Flush()
	if !changed {
		return nil
	}
	f := &canonical.FeedRecord{
		Topic: t.info.Topic, Hop: t.info.Hop, Partition: t.info.Partition, Version: c.Version,
		Received: c.Received, Repeated: c.Repeated, Stale: c.Stale, Letters: c.Letters, Healed: c.Healed,
		Unavailable: c.Unavailable, OutOfSnapshot: c.BelowSnapshot, Tombstones: c.Tombstones,
	}
	if c.LastEvent > 0 {
		f.LastEventAt = &c.LastEvent
	}
	if c.LastSeen > 0 {
		micros := c.LastSeen * 1000
		f.LastSeenAt = &micros
	}
	return t.records.feed(out, f)
}

func (t *intakeTask) Advance(int, run.Emitter) (bool, error) { return false, nil }
func (t *intakeTask) Reset()                                 { t.op.Reset() }

// intakeOutput sends rows to their documents.
type intakeOutput struct {
	out     run.Emitter
	records *records
}

func (o intakeOutput) Row(r *change.Row, stored []byte) {
	doc := []byte(r.System + "/" + r.Entity + "/" + r.Doc)
	o.out.Emit(o.records.names.Rows, doc, doc, stored)
}

func (o intakeOutput) Healed(l change.Letter) {
	topic, partitionKey, key, value, err := o.records.letter(l)
	if err == nil { // a letter without bytes always encodes
		o.out.Emit(topic, partitionKey, key, value)
	}
}

// plans keeps the compiled decoders of all sources. Writer schemas are few and
// never change, so nothing is ever thrown away.
type plans struct {
	schemas Schemas
	ctx     context.Context //nolint:containedctx // ends look-ups when the process drains; tasks have no context of their own
	mu      sync.Mutex
	byID    map[planKey]plan
}

type planKey struct {
	topic string
	id    int
	ofKey bool
}

type plan struct {
	plan *projection.Plan
	err  error // the schema cannot be used; will not change
}

func (p *plans) value(src *intake.Source, id int) (*projection.Plan, error) {
	return p.get(planKey{topic: src.Topic, id: id}, src, src.Want())
}

func (p *plans) key(src *intake.Source, id int) (*projection.Plan, error) {
	return p.get(planKey{topic: src.Topic, id: id, ofKey: true}, src, src.WantKey())
}

func (p *plans) get(key planKey, src *intake.Source, want []projection.Field) (*projection.Plan, error) {
	p.mu.Lock()
	known, ok := p.byID[key]
	p.mu.Unlock()
	if ok {
		return known.plan, known.err
	}
	text, err := p.schemas.SchemaByID(p.ctx, key.id)
	if err != nil {
		return nil, err
	}
	if known.plan, known.err = projection.Compile(text, want, projection.Limits{}); known.err == nil {
		known.plan = known.plan.WithPlaceholder(src.Placeholder)
	}
	p.mu.Lock()
	p.byID[key] = known
	p.mu.Unlock()
	return known.plan, known.err
}

func letterKey(l change.Letter) string {
	return l.Topic + "/" + strconv.Itoa(int(l.Partition)) + "/" + strconv.FormatInt(l.Offset, 10)
}
