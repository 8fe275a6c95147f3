package pipelines

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"syncline/pipelines/run"
	"syncline/processors/intake"
	"syncline/schemas/change"
)

// noticeInstruction is what the intake tasks of a topic tell each other, as an
// instruction. Its id follows from what it says: told twice it is one.
func noticeInstruction(topic string, n intake.Notice) *run.Instruction {
	body, _ := json.Marshal(n) //nolint:errchkjson // numbers
	id := string(n.Kind) + "/" + topic + "/" + n.Pos.String()
	if n.Kind == intake.NoticeCounted {
		id += "/" + strconv.Itoa(int(n.Partition))
	}
	return &run.Instruction{ID: id, Kind: string(n.Kind), Hop: Intake, Topic: topic, Who: ByPipelines, When: n.Timestamp, Body: body}
}

// noticeOf reads it back.
func noticeOf(i *run.Instruction) (n intake.Notice, err error) {
	if err = json.Unmarshal(i.Body, &n); err != nil {
		return n, fmt.Errorf("instruction %s: %w", i.ID, err)
	}
	n.Kind, n.Timestamp = intake.NoticeKind(i.Kind), i.When
	return n, nil
}

// obeyNotice has the task take what another one has told.
func (t *intakeTask) obeyNotice(i *run.Instruction) change.Verdict {
	n, err := noticeOf(i)
	if err != nil {
		return change.Dropped("instruction.unreadable")
	}
	return t.op.Obey(n)
}

func (o *intakeOutput) Notice(n intake.Notice) {
	i := noticeInstruction(o.topic, n)
	if b, err := (Instructions{}).EncodeInstruction(i); err == nil { // an instruction without a body of its own always encodes
		o.out.Emit(o.records.names.Instructions, []byte(i.ID), []byte(i.ID), b)
	}
}

// Sweeps follow what becomes of full snapshots.
type Sweeps struct {
	// Wait is how long rows of a snapshot may still be on their way to other
	// partitions when its closing row is there.
	Wait time.Duration
	// Said are all instructions so far, in order.
	Said func() []run.Instruction
	// Ends are the end offsets of a topic's partitions.
	Ends func(ctx context.Context, topic string) (map[int32]int64, error)
	// Instruct gives one.
	Instruct func(ctx context.Context, i run.Instruction) error
	Log      *slog.Logger

	seen map[string]time.Time // when a closing row was first heard of, by the instruction's id
}

// Run has the tasks count and sweep once every partition is past what it held
// Wait after a snapshot's closing row. Several processes may do so: a sweep is
// one, however often it is asked for. It ends with ctx.
func (s *Sweeps) Run(ctx context.Context) {
	tick := time.NewTicker(max(s.Wait/10, 100*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.Look(ctx, time.Now()); err != nil && ctx.Err() == nil {
			s.Log.Warn("a snapshot has ended, and cannot be followed up yet", "error", err)
		}
	}
}

// Look asks for the sweeps that are due.
func (s *Sweeps) Look(ctx context.Context, now time.Time) error {
	if s.seen == nil {
		s.seen = map[string]time.Time{}
	}
	for _, closed := range pendingSweeps(s.Said()) {
		since, known := s.seen[closed.ID]
		if !known {
			s.seen[closed.ID], since = now, now
		}
		if now.Sub(since) < s.Wait {
			continue
		}
		ends, err := s.Ends(ctx, closed.Topic)
		if err != nil {
			return err
		}
		sweep, err := sweepInstruction(closed, ends)
		if err != nil {
			return err
		}
		if err := s.Instruct(ctx, *sweep); err != nil {
			return err
		}
		s.Log.Info("a snapshot has ended: rows that it does not have are looked for", "topic", closed.Topic, "instruction", sweep.ID)
	}
	return nil
}

// pendingSweeps are the closed snapshots of which no sweep was asked for.
func pendingSweeps(said []run.Instruction) []*run.Instruction {
	swept := map[string]bool{}
	for i := range said {
		if said[i].Kind == string(intake.NoticeSweep) {
			swept[said[i].ID] = true
		}
	}
	var out []*run.Instruction
	for i := range said {
		if said[i].Kind != string(intake.NoticeClosed) {
			continue
		}
		if n, err := noticeOf(&said[i]); err == nil {
			n.Kind = intake.NoticeSweep
			if id := noticeInstruction(said[i].Topic, n).ID; !swept[id] {
				swept[id] = true
				out = append(out, &said[i])
			}
		}
	}
	return out
}

// sweepInstruction has every partition count, and then sweep, at an offset.
func sweepInstruction(closed *run.Instruction, ends map[int32]int64) (*run.Instruction, error) {
	n, err := noticeOf(closed)
	if err != nil {
		return nil, err
	}
	n.Kind = intake.NoticeSweep
	for p := range ends {
		n.Of = append(n.Of, p)
	}
	slices.Sort(n.Of)
	i := noticeInstruction(closed.Topic, n)
	i.At = ends
	return i, nil
}

// HeldSweep is what a sweep of a topic would delete, and waits to be allowed.
type HeldSweep struct {
	Topic    string
	Position string
	Rows     int64 // that live in the counted partitions
	Below    int64 // of them, not in the snapshot
	Blind    bool  // a record that cannot be read may have been one of the snapshot's
	apply    run.Instruction
}

// Held finds the sweeps that wait, newest of each topic: those that all of their
// partitions have counted, found too large, and nobody has applied.
func Held(said []run.Instruction) []HeldSweep {
	type one struct {
		of     []int32
		counts map[int32]intake.Count
		over   bool
		notice intake.Notice
	}
	byID := map[string]*one{}
	newest := map[string]*one{}
	for i := range said {
		switch intake.NoticeKind(said[i].Kind) {
		case intake.NoticeSweep, intake.NoticeCounted, intake.NoticeApply:
		default:
			continue
		}
		n, err := noticeOf(&said[i])
		if err != nil {
			continue
		}
		id := said[i].Topic + " " + n.Pos.String()
		o := byID[id]
		if o == nil {
			o = &one{counts: map[int32]intake.Count{}, notice: intake.Notice{Kind: intake.NoticeApply, Pos: n.Pos}}
			byID[id] = o
		}
		switch n.Kind {
		case intake.NoticeSweep:
			o.of = n.Of
			if last := newest[said[i].Topic]; last == nil || last.notice.Pos.Compare(n.Pos) < 0 {
				newest[said[i].Topic] = o
			}
		case intake.NoticeCounted:
			o.counts[n.Partition] = n.Count
		case intake.NoticeApply:
			o.over = true
		}
	}
	var out []HeldSweep
	for topic, o := range newest {
		h := HeldSweep{Topic: topic, Position: o.notice.Pos.String(), apply: *noticeInstruction(topic, o.notice)}
		var all intake.Count
		complete := !o.over
		for _, p := range o.of {
			c, counted := o.counts[p]
			complete = complete && counted
			all.Rows, all.Below, all.Blind = all.Rows+c.Rows, all.Below+c.Below, all.Blind || c.Blind
		}
		if h.Rows, h.Below, h.Blind = all.Rows, all.Below, all.Blind; complete && !all.Within() {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b HeldSweep) int { return strings.Compare(a.Topic, b.Topic) })
	return out
}

// Apply is the instruction that allows it.
func (h *HeldSweep) Apply() run.Instruction {
	i := h.apply
	i.Who = ""
	i.When = 0
	return i
}

// String says it in a sentence.
func (h *HeldSweep) String() string {
	s := fmt.Sprintf("the full snapshot of %s at position %s lacks %d of %d rows", h.Topic, h.Position, h.Below, h.Rows)
	if h.Blind {
		s += ", and a record of it could not be read and names no row"
	}
	return s
}
