package run

import (
	"errors"
	"fmt"

	"syncline/schemas/change"
)

// park writes the letter of a record into the transaction. A letter that cannot
// be written stops the task: a record must not vanish.
func (t *task) park(m *Message, v change.Verdict) error {
	cfg := &t.hop.cfg
	if cfg.EncodeLetter == nil || cfg.LetterTopic.Name == "" {
		return fmt.Errorf("task %s at offset %d: parked (%s: %w), but no letter topic is configured", t.id, m.Offset, v.Reason, v.Err)
	}
	letter := change.Letter{
		Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Timestamp: m.Timestamp,
		Key: m.Key, Value: m.Value, Hop: t.hop.def.Name, Reason: v.Reason,
	}
	describe(&letter, v)
	topic, partitionKey, key, value, err := cfg.EncodeLetter(letter)
	if err != nil {
		return fmt.Errorf("task %s at offset %d: encoding the letter for %s: %w", t.id, m.Offset, v.Reason, err)
	}
	t.out.limit += letterRoom - 1024
	t.out.Emit(topic, partitionKey, key, value)
	t.out.limit -= letterRoom - 1024
	if t.out.err != nil {
		return fmt.Errorf("task %s at offset %d: writing the letter for %s: %w", t.id, m.Offset, v.Reason, t.out.err)
	}
	t.tally.parked++
	t.log.Warn("record parked", "offset", m.Offset, "reason", v.Reason, "error", v.Err)
	return nil
}

// describe adds what a verdict says of the record.
func describe(l *change.Letter, v change.Verdict) {
	if v.Err == nil {
		return
	}
	l.Message = v.Err.Error()
	if about, ok := errors.AsType[*change.SubjectError](v.Err); ok {
		l.Subject, l.Attempts = about.Subject, about.Attempts
	}
}
