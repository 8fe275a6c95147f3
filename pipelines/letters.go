package pipelines

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"syncline/pipelines/run"
	"syncline/processors/intake"
	"syncline/schemas/change"
)

// KindDiscard is the instruction that letters are not needed. Its body is a
// run.AgainBody of their places.
const KindDiscard = "letters.discard"

// LetterPlace is one letter: the record it is of, and the row, "" where that was
// not known.
type LetterPlace struct {
	Topic     string
	Partition int32
	Offset    int64
	Row       string
}

// mostLetters bounds what one instruction names: it is kept for ever.
const mostLetters = 5000

// Redrive makes the instructions that have the records of letters read again, and
// Discard those that settle them unread: one for each topic and so many letters.
func Redrive(places []LetterPlace) ([]run.Instruction, error) {
	return ofLetters(run.KindRedrive, places)
}

// Discard makes the instructions that settle letters which nobody needs.
func Discard(places []LetterPlace) ([]run.Instruction, error) { return ofLetters(KindDiscard, places) }

func ofLetters(kind string, places []LetterPlace) (out []run.Instruction, err error) {
	places = slices.Clone(places)
	slices.SortFunc(places, func(a, b LetterPlace) int {
		switch {
		case a.Topic != b.Topic:
			return strings.Compare(a.Topic, b.Topic)
		case a.Partition != b.Partition:
			return int(a.Partition - b.Partition)
		}
		return int(a.Offset - b.Offset)
	})
	for len(places) > 0 {
		n := 1
		for n < len(places) && n < mostLetters && places[n].Topic == places[0].Topic {
			n++
		}
		body := run.AgainBody{Ranges: map[int32][][2]int64{}, Rows: map[int32]map[int64]string{}}
		for _, p := range places[:n] {
			body.Ranges[p.Partition] = append(body.Ranges[p.Partition], [2]int64{p.Offset, p.Offset + 1})
			if p.Row != "" {
				if body.Rows[p.Partition] == nil {
					body.Rows[p.Partition] = map[int64]string{}
				}
				body.Rows[p.Partition][p.Offset] = p.Row
			}
		}
		i, err := again(kind, places[0].Topic, body)
		if err != nil {
			return nil, err
		}
		out = append(out, i)
		places = places[n:]
	}
	return out, nil
}

// Replay makes the instruction that reads ranges of a topic again, by partition:
// from the first offset of each pair to before the second.
func Replay(topic string, ranges map[int32][2]int64) (run.Instruction, error) {
	body := run.AgainBody{Ranges: map[int32][][2]int64{}}
	for p, r := range ranges {
		if r[0] < 0 || r[1] <= r[0] {
			return run.Instruction{}, fmt.Errorf("partition %d: offsets %d to %d are no range", p, r[0], r[1])
		}
		body.Ranges[p] = [][2]int64{r}
	}
	if len(body.Ranges) == 0 {
		return run.Instruction{}, errors.New("there is nothing to read again")
	}
	return again(run.KindReplay, topic, body)
}

func again(kind, topic string, body run.AgainBody) (run.Instruction, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return run.Instruction{}, fmt.Errorf("writing an instruction: %w", err)
	}
	return run.Instruction{Kind: kind, Hop: Intake, Topic: topic, Body: b}, nil
}

// Again implements [run.Rereader].
func (t *intakeTask) Again(i *run.Instruction, m *run.Message, out run.Emitter) change.Verdict {
	if t.againOf != i {
		var body run.AgainBody
		if err := json.Unmarshal(i.Body, &body); err != nil {
			return change.Dropped("instruction.unreadable")
		}
		t.againOf, t.againRows = i, body.Rows[t.info.Partition]
		t.config.Schemas.AskAnew() // a schema is there since a moment ago, perhaps
	}
	t.output.out = out
	m.Waited = t.config.UnknownSchemaWait // what does not appear at once keeps its letter
	at := intake.Place{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Timestamp: m.Timestamp}
	return t.op.Again(&at, t.againRows[m.Offset], act(i), func() change.Verdict { return t.apply(m, &at) }, &t.output)
}

// discard settles the letters that an instruction names.
func (t *intakeTask) discard(i *run.Instruction, out run.Emitter) change.Verdict {
	var body run.AgainBody
	if err := json.Unmarshal(i.Body, &body); err != nil {
		return change.Dropped("instruction.unreadable")
	}
	t.output.out = out
	open := false
	for _, r := range body.Ranges[t.info.Partition] {
		for offset := r[0]; offset < r[1]; offset++ {
			open = t.op.Discard(body.Rows[t.info.Partition][offset], offset, act(i), &t.output) || open
		}
	}
	if !open {
		return change.Dropped("letters.none_open")
	}
	return change.Verdict{}
}

func act(i *run.Instruction) intake.Act {
	return intake.Act{Who: i.Who, Why: i.Why, Instruction: i.ID}
}
