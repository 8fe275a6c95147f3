package pipelines

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"syncline/pipelines/run"
	"syncline/processors/intake"
	"syncline/schemas/change"
)

// sweepsOf follows said, and keeps what it instructs there.
func sweepsOf(said *[]run.Instruction, wait time.Duration) *Sweeps {
	return &Sweeps{
		Wait: wait, Log: slog.New(slog.DiscardHandler),
		Said:     func() []run.Instruction { return *said },
		Ends:     func(context.Context, string) (map[int32]int64, error) { return map[int32]int64{1: 20, 0: 10}, nil },
		Instruct: func(_ context.Context, i run.Instruction) error { *said = append(*said, i); return nil },
	}
}

func notice(kind intake.NoticeKind, lsn int64) intake.Notice {
	return intake.Notice{Kind: kind, Pos: change.Position{LSN: lsn}, Began: 7}
}

// A closed snapshot leads to one sweep, after the wait, at the ends of then,
// however many processes follow it and however often it is said.
func TestSweepsWait(t *testing.T) {
	closed := *noticeInstruction("t", notice(intake.NoticeClosed, 500))
	said := []run.Instruction{closed}
	one, other := sweepsOf(&said, 10*time.Second), sweepsOf(&said, 10*time.Second)
	start := time.Now()
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {9 * time.Second, 1}, {10 * time.Second, 2}, {30 * time.Second, 2}} {
		for _, s := range []*Sweeps{one, other} {
			if err := s.Look(t.Context(), start.Add(step.after)); err != nil {
				t.Fatal(err)
			}
		}
		if len(said) != step.want {
			t.Fatalf("after %v: %d instructions, want %d", step.after, len(said), step.want)
		}
	}
	said = append(said, closed) // told again, as by a rebuild
	if err := one.Look(t.Context(), start.Add(time.Hour)); err != nil || len(said) != 3 {
		t.Errorf("%v, %d instructions", err, len(said))
	}
	n, err := noticeOf(&said[1])
	if err != nil || n.Kind != intake.NoticeSweep || n.Pos.LSN != 500 || n.Began != 7 || len(n.Of) != 2 || n.Of[0] != 0 || said[1].At[1] != 20 || said[1].Topic != "t" || said[1].Hop != Intake {
		t.Errorf("%+v: %+v, %v", said[1], n, err)
	}
	broken := sweepsOf(&said, 0)
	broken.Ends = func(context.Context, string) (map[int32]int64, error) { return nil, errors.New("no broker") }
	said = append(said, *noticeInstruction("t", notice(intake.NoticeClosed, 600)))
	if err := broken.Look(t.Context(), start); err == nil || len(said) != 4 {
		t.Errorf("without ends: %v, %d instructions", err, len(said))
	}
}

// What is held, and what is not any more.
func TestHeld(t *testing.T) {
	sweep := func(lsn int64) run.Instruction {
		closed := noticeInstruction("t", notice(intake.NoticeClosed, lsn))
		i, err := sweepInstruction(closed, map[int32]int64{0: 1, 1: 1})
		if err != nil {
			t.Fatal(err)
		}
		return *i
	}
	counted := func(lsn int64, p int32, rows, below int64, blind bool) run.Instruction {
		n := notice(intake.NoticeCounted, lsn)
		n.Partition, n.Count = p, intake.Count{Rows: rows, Below: below, Blind: blind}
		return *noticeInstruction("t", n)
	}
	apply := *noticeInstruction("t", notice(intake.NoticeApply, 500))
	for _, c := range []struct {
		name  string
		said  []run.Instruction
		below int64 // of the held one; -1 where nothing is
	}{
		{"nothing", nil, -1},
		{"one has not counted", []run.Instruction{sweep(500), counted(500, 0, 10, 9, false)}, -1},
		{"too many", []run.Instruction{sweep(500), counted(500, 0, 10, 2, false), counted(500, 1, 10, 2, false)}, 4},
		{"few rows", []run.Instruction{sweep(500), counted(500, 0, 3, 2, false), counted(500, 1, 2, 1, false)}, -1},
		{"a twentieth", []run.Instruction{sweep(500), counted(500, 0, 100, 10, false), counted(500, 1, 100, 0, false)}, -1},
		{"more than a twentieth", []run.Instruction{sweep(500), counted(500, 0, 100, 11, false), counted(500, 1, 100, 0, false)}, 11},
		{"blind", []run.Instruction{sweep(500), counted(500, 0, 100, 1, false), counted(500, 1, 100, 0, true)}, 1},
		{"applied", []run.Instruction{sweep(500), counted(500, 0, 10, 2, false), counted(500, 1, 10, 2, false), apply}, -1},
		{"a later one", []run.Instruction{sweep(500), counted(500, 0, 10, 2, false), counted(500, 1, 10, 2, false), sweep(600), counted(600, 0, 10, 0, false), counted(600, 1, 10, 0, false)}, -1},
	} {
		held := Held(c.said)
		if c.below < 0 && len(held) != 0 || c.below >= 0 && (len(held) != 1 || held[0].Below != c.below) {
			t.Errorf("%s: %+v, want %d", c.name, held, c.below)
			continue
		}
		if len(held) == 1 {
			i := held[0].Apply()
			if n, err := noticeOf(&i); err != nil || n.Kind != intake.NoticeApply || n.Pos.LSN != 500 {
				t.Errorf("%s: %+v, %v", c.name, n, err)
			}
		}
	}
}
