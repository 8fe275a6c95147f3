package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Survey is what the processes of the pipelines say of themselves while somebody
// listens.
type Survey struct {
	Live  []Process // by slot
	Lost  []Process // silent, and they have not said that they end
	Clock time.Duration
	// Clocked tells that Clock, how far the clock here is ahead of the broker's, was
	// measured.
	Clocked bool
}

// surveyTime is long enough to hear every process that lives twice.
const surveyTime = 4500 * time.Millisecond

// Listen reads the topic of processes and, if any has not ended, waits to hear
// of it again: clocks prove nothing about who lives.
func Listen(ctx context.Context, cfg Config, topic string) (s Survey, err error) {
	cl, err := cfg.asking(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return s, fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	from, to, err := edges(ctx, kadm.NewClient(cl), topic)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("reading topic %q: %w", topic, err)
	}
	seen, heard := map[string]Process{}, map[string]bool{}
	open := func() bool {
		for _, p := range seen {
			if !p.Ended && !heard[p.Incarnation] {
				return true
			}
		}
		return false
	}
	until := time.Now().Add(surveyTime)
	for next := from; next < to || open() && time.Now().Before(until); {
		pollCtx, cancel := context.WithDeadline(ctx, until.Add(10*time.Second))
		if next >= to {
			cancel()
			pollCtx, cancel = context.WithDeadline(ctx, until)
		}
		fetches := cl.PollFetches(pollCtx)
		cancel()
		if ctx.Err() != nil {
			return s, ctx.Err()
		}
		if err := fetches.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return s, fmt.Errorf("reading topic %q: %w", topic, err)
		}
		if next < to && time.Now().After(until.Add(9*time.Second)) {
			return s, fmt.Errorf("reading topic %q: not read in time", topic)
		}
		now := time.Now()
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			noteProcess(seen, r)
			if r.Offset >= to {
				heard[string(r.Key)] = true
				s.Clock, s.Clocked = now.Sub(r.Timestamp), true
			}
		})
	}
	for _, p := range seen {
		switch {
		case p.Ended:
		case heard[p.Incarnation]:
			s.Live = append(s.Live, p)
		default:
			s.Lost = append(s.Lost, p)
		}
	}
	bySlot(s.Live)
	bySlot(s.Lost)
	return s, nil
}

// startTime is for how long after its begin a process may still be making topics.
const startTime = time.Minute

// starting is a process that lives and has begun within startTime, or nil.
func (s Survey) starting() *Process {
	for i := range s.Live {
		if p := &s.Live[i]; p.At.Sub(p.Since) < startTime { // both by its own clock
			return p
		}
	}
	return nil
}

// mostSkew is how far clocks may be apart before it is worth a word.
const mostSkew = 2 * time.Second

// Examine turns a survey into findings. members are the instance ids in the
// groups, by group; parts names the groups of each part of a process.
func (s Survey) Examine() []Examination {
	out := []Examination{s.processes()}
	for i, p := range s.Live {
		for _, q := range s.Live[:i] {
			shared := slices.ContainsFunc(p.Parts, func(part string) bool { return slices.Contains(q.Parts, part) })
			if p.Slot == q.Slot && shared {
				out = append(out, Examination{
					Check: "slots", Found: fmt.Sprintf("slot %d is that of %s and of %s: they end each other's transactions", p.Slot, q.place(), p.place()),
					Fix: "end one of them, and start it with a --slot of its own",
				})
			}
		}
	}
	return append(append(out, s.troubles()...), s.clocks()...)
}

func (p *Process) place() string { return fmt.Sprintf("process %d on %s", p.PID, p.Host) }

func (s Survey) processes() Examination {
	e := Examination{Check: "processes", OK: true}
	var words []string
	for i := range s.Live {
		p := &s.Live[i]
		words = append(words, fmt.Sprintf("slot %d: %s, %s, version %s, since %s", p.Slot, p.place(), strings.Join(p.Parts, " and "), p.Version, p.Since.Format(time.DateTime)))
	}
	for i := range s.Lost {
		p := &s.Lost[i]
		e.Warning, e.Fix = true, "see why it ended; its slot is free for a new process"
		words = append(words, fmt.Sprintf("slot %d: %s has ended without a word, heard of last at %s", p.Slot, p.place(), p.Heard.UTC().Format(time.DateTime)))
	}
	if len(s.Live) == 0 {
		e.Warning, e.Fix = true, "syncline up, or syncline run"
		words = append([]string{"none runs"}, words...)
	}
	e.Found = strings.Join(words, "; ")
	return e
}

// troubles are what stands still, a finding each: stopped ones are broken.
func (s Survey) troubles() (out []Examination) {
	for i := range s.Live {
		p := &s.Live[i]
		for _, t := range p.Report.Troubles {
			out = append(out, t.examine())
		}
		if n := p.Report.More; n > 0 {
			out = append(out, Examination{Check: "tasks", OK: true, Warning: true, Found: fmt.Sprintf("%d more of %s do not go on", n, p.place()), Fix: "mend those that are named first"})
		}
	}
	return out
}

func (t *Trouble) examine() Examination {
	place := t.Part + " " + t.Topic
	if t.Partition >= 0 {
		place += fmt.Sprintf("/%d", t.Partition)
	}
	e := Examination{
		Check: place, OK: t.State != "stopped", Warning: true,
		Found: fmt.Sprintf("%s since %s: %s", t.State, t.Since.UTC().Format(time.DateTime), t.Message),
	}
	if t.Reason != "" {
		e.Found = fmt.Sprintf("%s since %s (%s): %s", t.State, t.Since.UTC().Format(time.DateTime), t.Reason, t.Message)
	}
	if t.State == "stopped" {
		e.Fix = "mend what it names, then start the process anew; `syncline feeds skip` goes on behind a record that nobody needs"
	} else {
		e.Fix = "mend what it names: it goes on by itself"
	}
	return e
}

// clocks compares the clocks of this machine and of the processes with the
// broker's.
func (s Survey) clocks() (out []Examination) {
	if !s.Clocked {
		return nil
	}
	const fix = "set both clocks by NTP: times of records and the ages that are shown would be wrong by as much"
	e := Examination{Check: "clocks", OK: true, Found: fmt.Sprintf("here and the broker: %s apart", s.Clock.Abs().Round(10*time.Millisecond))}
	if s.Clock.Abs() > mostSkew {
		e.Warning, e.Fix = true, fix
	}
	out = append(out, e)
	for i := range s.Live {
		p := &s.Live[i]
		if ahead := p.At.Sub(p.Heard); ahead.Abs() > mostSkew {
			out = append(out, Examination{Check: "clocks", OK: true, Warning: true, Found: fmt.Sprintf("%s and the broker: %s apart", p.place(), ahead.Abs().Round(10*time.Millisecond)), Fix: fix})
		}
	}
	return out
}
