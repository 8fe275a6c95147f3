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

// reasonTooManyLetters is why a feed stops of which too much becomes letters.
const reasonTooManyLetters = "letters.limit"

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
	// The instruction whose records are read again, and their rows.
	againOf   *run.Instruction
	againRows map[int64]string

	flood error // too many records became letters: the task stops before the next
	anew  bool  // it has not taken a record since it began or began anew
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
		config: c, src: src, op: intake.New(src, info.Partition, info.Store), records: records, info: info,
		key:    side{find: plans.key, out: make([]change.Value, len(src.Key))},
		value:  side{find: plans.value, out: make(intake.Image, len(src.Want()))},
		output: intakeOutput{records: records, topic: src.Topic},
	}
	t.Reset()
	return t
}

func (t *intakeTask) Process(m *run.Message, out run.Emitter) change.Verdict {
	if t.flood != nil {
		return change.Stopped(reasonTooManyLetters, fmt.Errorf("%w; `syncline letters list --topic %s` tells the causes. Mend them and start the pipelines again, or have the feed try once more: syncline feeds skip %s %d %d",
			t.flood, m.Topic, m.Topic, m.Partition, m.Offset))
	}
	t.output.out = out
	at := intake.Place{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Timestamp: m.Timestamp}
	v := t.apply(m, &at)
	switch {
	case v.Kind == change.Park:
		// It stops before the next record: this one has its letter. After a start the
		// first record is always tried, for its cause may have been mended.
		t.flood = t.op.Flooded(t.config.LetterLimit)
	case t.anew && v.Kind != change.Wait && t.op.Flooded(t.config.LetterLimit) != nil:
		t.op.Forgive()
	}
	t.anew = t.anew && v.Kind == change.Wait
	return v
}

// apply applies one record, read for the first time or again, and fills in what
// its key says of at.
func (t *intakeTask) apply(m *run.Message, at *intake.Place) change.Verdict {
	// The key first: whatever the value is, the letter is then its row's. What is
	// wrong with the key counts only once the value turns out to be a row's.
	if at.Key, at.Fault = t.readKey(m); at.Fault.Kind == change.Wait {
		return at.Fault
	}
	if size := len(m.Key) + len(m.Value); size > t.config.MaxRecordBytes {
		return t.op.Refuse(*at, intake.ReasonTooLarge, fmt.Errorf("the record has %d bytes, the limit is %d: raise max_record_bytes if this is real data", size, t.config.MaxRecordBytes), &t.output)
	}
	if m.Value == nil {
		return t.op.Tombstone(*at, &t.output)
	}
	switch v := t.decode(m, m.Value, &t.value); v.Kind {
	case change.Pass:
		return t.op.Apply(*at, t.value.out, &t.output)
	case change.Drop:
		return t.op.PassBy(*at)
	case change.Park:
		return t.op.Refuse(*at, v.Reason, v.Err, &t.output)
	default:
		return v
	}
}

// readKey returns the native id that the record's key names, or what is wrong
// with the key.
func (t *intakeTask) readKey(m *run.Message) (id string, fault change.Verdict) {
	switch {
	case m.Key == nil:
		return "", change.Parked(intake.ReasonKey, intake.ErrNoKey)
	case len(m.Key) > t.config.MaxRecordBytes:
		return "", fault // the record is too large
	}
	if fault = t.decode(m, m.Key, &t.key); fault.Kind != change.Pass {
		return "", fault
	}
	id, err := t.src.KeyID(t.key.out)
	if err != nil {
		return "", change.Parked(intake.ReasonKey, err)
	}
	return id, fault
}

// decode reads a key or a value, or says what becomes of the record.
func (t *intakeTask) decode(m *run.Message, framed []byte, s *side) change.Verdict {
	id, payload, err := registry.Unframe(framed)
	if err != nil {
		return change.Parked(reasonFrame, err)
	}
	plan := s.known[id]
	if plan == nil {
		var v change.Verdict
		if plan, v = t.find(m, id, s); plan == nil {
			return v
		}
		s.known[id] = plan
	}
	if err := plan.Decode(payload, s.out); err != nil {
		return change.Parked(reasonAvro, fmt.Errorf("schema id %d: %w", id, err))
	}
	return change.Verdict{}
}

// find asks for the plan of a schema id that this task sees for the first time.
func (t *intakeTask) find(m *run.Message, id int, s *side) (*projection.Plan, change.Verdict) {
	plan, err := s.find(t.src, id, t.gone)
	misfit, isMisfit := errors.AsType[*misfitError](err)
	foreign, isForeign := errors.AsType[*foreignError](err)
	switch {
	case err == nil || isMisfit || isForeign:
		if slices.Contains(t.gaveUp, id) {
			t.op.Appeared(id)
			t.gaveUp = t.op.GaveUp()
		}
		switch {
		case isMisfit:
			return nil, change.Waiting(misfit.first.Reason, misfit)
		case isForeign:
			return nil, foreign.judged
		}
		return plan, change.Verdict{}
	case errors.Is(err, registry.ErrUnknownID):
		if !slices.Contains(t.gaveUp, id) {
			if m.Waited < t.config.UnknownSchemaWait {
				return nil, change.Waiting(reasonUnknownSchema, err)
			}
			t.op.GiveUp(id)
			t.gaveUp = append(t.gaveUp, id)
		}
		// One text, and so one cause, for the record that has waited and those behind it.
		return nil, change.Parked(reasonUnknownSchema, fmt.Errorf("schema id %d was waited for in vain, %s: %w", id, t.config.UnknownSchemaWait, err))
	case errors.Is(err, registry.ErrUnreachable):
		return nil, change.Waiting(reasonNoRegistry, err)
	default:
		return nil, change.Parked(reasonSchema, fmt.Errorf("schema id %d: %w", id, err))
	}
}

func (t *intakeTask) Flush(out run.Emitter) error {
	c, changed := t.op.Flush()
	if !changed {
		return nil
	}
	f := &canonical.FeedRecord{
		Topic: t.info.Topic, Hop: t.info.Hop, Partition: t.info.Partition, Version: c.Version,
		Received: c.Received, Repeated: c.Repeated, Stale: c.Stale, Letters: c.Letters, Healed: c.Healed, Unplaced: c.Unplaced,
		Unavailable: c.Unavailable, OutOfSnapshot: c.BelowSnapshot, Tombstones: c.Tombstones, LastEventAt: nil, LastSeenAt: nil,
		Swept: c.Swept, SweepHeld: c.SweepHeld,
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

func (t *intakeTask) Advance(budget int, out run.Emitter) (bool, error) {
	t.output.out = out
	more, err := t.op.Advance(budget, &t.output)
	if err != nil {
		return false, err
	}
	return more, t.Flush(out) // what was swept is counted too
}

func (t *intakeTask) Reset() {
	t.op.Reset()
	t.flood, t.anew = nil, true
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
	topic   string // the source's
	records *records
}

func (o *intakeOutput) Row(r *change.Row, stored []byte) {
	doc := []byte(r.System + "/" + r.Entity + "/" + r.Doc)
	o.out.Emit(o.records.names.Rows, doc, doc, stored)
}

func (o *intakeOutput) Settled(l change.Letter) {
	o.records.settled(o.out, l)
}

func letterKey(l change.Letter) string {
	return l.Topic + "/" + strconv.Itoa(int(l.Partition)) + "/" + strconv.FormatInt(l.Offset, 10)
}
