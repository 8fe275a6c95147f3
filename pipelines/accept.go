package pipelines

import (
	"fmt"
	"slices"

	"syncline/pipelines/catalog"
	"syncline/pipelines/run"
	"syncline/processors/intake"
	"syncline/schemas/change"
)

// KindAcceptGone is the instruction that a mapped column is gone from a topic's
// table and is not needed any more: where a writer's schema does not give it, it
// reads as not sent. Its body is the column's name.
const KindAcceptGone = "accept.column_gone"

// AcceptGone makes that instruction, if the catalog maps the column and can do
// without it.
func AcceptGone(c *catalog.Catalog, topic, column string) (run.Instruction, error) {
	sources, err := c.Sources()
	if err != nil {
		return run.Instruction{}, err
	}
	for _, s := range sources {
		if s.Topic != topic {
			continue
		}
		if err := canAccept(s, column); err != nil {
			return run.Instruction{}, fmt.Errorf("topic %s: %w", topic, err)
		}
		return run.Instruction{Kind: KindAcceptGone, Hop: Intake, Topic: topic, Body: []byte(column)}, nil
	}
	return run.Instruction{}, fmt.Errorf("the catalog has no topic %s", topic)
}

func canAccept(s *intake.Source, column string) error {
	switch {
	case slices.Contains(s.Key, column):
		return fmt.Errorf("column %q is of the key: without it no row can be told; map the new key", column)
	case s.Column(column) < 0:
		return fmt.Errorf("no mapping uses column %q", column)
	}
	return nil
}

// Obey implements [run.Obedient].
func (t *intakeTask) Obey(i *run.Instruction, out run.Emitter) change.Verdict {
	switch i.Kind {
	case KindDiscard:
		return t.discard(i, out)
	case KindAcceptGone:
		column := string(i.Body)
		if canAccept(t.src, column) != nil {
			return change.Dropped("accept.not_mapped") // by the catalog of today
		}
		t.op.AcceptGone(column)
		t.readSchemas()
		return change.Verdict{}
	case string(intake.NoticeTruncate), string(intake.NoticeClosed), string(intake.NoticeSweep), string(intake.NoticeCounted), string(intake.NoticeApply):
		return t.obeyNotice(i)
	default:
		return change.Dropped("instruction.unknown")
	}
}
