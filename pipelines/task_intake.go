package pipelines

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

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
	config     *Config
	src        *intake.Source
	op         *intake.Intake
	records    *records
	info       run.TaskInfo
	key, value side
	// Its own state of writers' schemas, which Reset reads anew.
	gone   []string // mapped columns that may be missing
	gaveUp []int    // ids that were waited for in vain
	output intakeOutput
}

// side is how a record's key or value is decoded.
type side struct {
	// find compiles the plan of a schema id, with mapped columns that may be
	// missing.
	find  func(src *intake.Source, id int, gone []string) (*projection.Plan, error)
	known map[int]*projection.Plan
	out   []change.Value
}

func newIntakeTask(c *Config, src *intake.Source, plans *plans, records *records, info run.TaskInfo) *intakeTask {
	t := &intakeTask{
		config: c, src: src, op: intake.New(src, info.Store), records: records, info: info,
		key:    side{find: plans.key, out: make([]change.Value, len(src.Key))},
		value:  side{find: plans.value, out: make(intake.Image, len(src.Want()))},
		output: intakeOutput{records: records},
	}
	t.Reset()
	return t
}

func (t *intakeTask) Process(m *run.Message, out run.Emitter) change.Verdict {
	at := intake.Place{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Timestamp: m.Timestamp}
	if m.Value == nil {
		return t.op.Tombstone(at)
	}
	t.output.out = out
	size := len(m.Key) + len(m.Value)
	if len(m.Key) <= t.config.MaxRecordBytes {
		// The key first: whatever the value is, the letter is then its row's.
		if v := t.decode(m, at, m.Key, &t.key); v.Kind != change.Pass {
			return v
		}
		id, err := t.src.KeyID(t.key.out)
		if err != nil {
			return t.op.Refuse(at, intake.ReasonKey, err, &t.output)
		}
		at.Key = id
	}
	if size > t.config.MaxRecordBytes {
		return t.op.Refuse(at, intake.ReasonTooLarge, fmt.Errorf("the record has %d bytes, the limit is %d: raise max_record_bytes if this is real data", size, t.config.MaxRecordBytes), &t.output)
	}
	if v := t.decode(m, at, m.Value, &t.value); v.Kind != change.Pass {
		return v
	}
	return t.op.Apply(at, t.value.out, &t.output)
}

// decode reads a key or a value, or says what becomes of the record.
func (t *intakeTask) decode(m *run.Message, at intake.Place, framed []byte, s *side) change.Verdict {
	id, payload, err := registry.Unframe(framed)
	if err != nil {
		return t.op.Refuse(at, reasonFrame, err, &t.output)
	}
	plan := s.known[id]
	if plan == nil {
		var v change.Verdict
		if plan, v = t.find(m, at, id, s); plan == nil {
			return v
		}
		s.known[id] = plan
	}
	if err := plan.Decode(payload, s.out); err != nil {
		return t.op.Refuse(at, reasonAvro, fmt.Errorf("schema id %d: %w", id, err), &t.output)
	}
	return change.Verdict{}
}

// find asks for the plan of a schema id that this task sees for the first time.
func (t *intakeTask) find(m *run.Message, at intake.Place, id int, s *side) (*projection.Plan, change.Verdict) {
	plan, err := s.find(t.src, id, t.gone)
	misfit, isMisfit := errors.AsType[*misfitError](err)
	switch {
	case err == nil || isMisfit:
		if slices.Contains(t.gaveUp, id) {
			t.op.Appeared(id)
			t.gaveUp = t.op.GaveUp()
		}
		if isMisfit {
			return nil, change.Waiting(misfit.first.Reason, misfit)
		}
		return plan, change.Verdict{}
	case errors.Is(err, registry.ErrUnknownID):
		if slices.Contains(t.gaveUp, id) {
			return nil, t.op.Refuse(at, reasonUnknownSchema, fmt.Errorf("schema id %d has not appeared yet: %w", id, err), &t.output)
		}
		if m.Waited < t.config.UnknownSchemaWait {
			return nil, change.Waiting(reasonUnknownSchema, err)
		}
		t.op.GiveUp(id)
		t.gaveUp = append(t.gaveUp, id)
		return nil, t.op.Refuse(at, reasonUnknownSchema, fmt.Errorf("schema id %d has not appeared in %s: %w", id, t.config.UnknownSchemaWait, err), &t.output)
	case errors.Is(err, registry.ErrUnreachable):
		return nil, change.Waiting(reasonNoRegistry, err)
	default:
		return nil, t.op.Refuse(at, reasonSchema, fmt.Errorf("schema id %d: %w", id, err), &t.output)
	}
}

func (t *intakeTask) Flush(out run.Emitter) error {
	c, changed := t.op.Flush()
	if !changed {
		return nil
	}
	f := &canonical.FeedRecord{
		Topic: t.info.Topic, Hop: t.info.Hop, Partition: t.info.Partition, Version: c.Version,
		Received: c.Received, Repeated: c.Repeated, Stale: c.Stale, Letters: c.Letters, Healed: c.Healed,
		Unavailable: c.Unavailable, OutOfSnapshot: c.BelowSnapshot, Tombstones: c.Tombstones, LastEventAt: nil, LastSeenAt: nil,
		Waiting: 0, WaitingSince: nil, // the document hop's
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

func (t *intakeTask) Reset() {
	t.op.Reset()
	t.readSchemas()
}

// readSchemas takes in what the task's state says of its writers' schemas.
func (t *intakeTask) readSchemas() {
	t.gone, t.gaveUp = t.op.Gone(), t.op.GaveUp()
	t.key.known, t.value.known = map[int]*projection.Plan{}, map[int]*projection.Plan{}
}

// intakeOutput sends rows to their documents.
type intakeOutput struct {
	out     run.Emitter
	records *records
}

func (o *intakeOutput) Row(r *change.Row, stored []byte) {
	doc := []byte(r.System + "/" + r.Entity + "/" + r.Doc)
	o.out.Emit(o.records.names.Rows, doc, doc, stored)
}

func (o *intakeOutput) Healed(l change.Letter) {
	topic, partitionKey, key, value, err := o.records.letter(l)
	if err == nil { // a letter without bytes always encodes
		o.out.Emit(topic, partitionKey, key, value)
	}
}

func letterKey(l change.Letter) string {
	return l.Topic + "/" + strconv.Itoa(int(l.Partition)) + "/" + strconv.FormatInt(l.Offset, 10)
}
