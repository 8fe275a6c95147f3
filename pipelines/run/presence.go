package run

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Process is what one process of the pipelines says of itself: a record of the
// topic of processes, written every two seconds. The newest one of an
// incarnation counts.
type Process struct {
	Incarnation string    `json:"incarnation"`
	Slot        int       `json:"slot"`
	Parts       []string  `json:"parts"`
	Host        string    `json:"host"`
	PID         int       `json:"pid"`
	Space       string    `json:"space,omitempty"` // where PID means something: boot and namespace
	Ticks       string    `json:"ticks,omitempty"` // begin of the process as its kernel counts
	Version     string    `json:"version"`
	Since       time.Time `json:"since"` // when it asked for its slot, by its own clock
	At          time.Time `json:"at"`    // of this record, the process's clock
	Seq         int64     `json:"seq"`
	Ended       bool      `json:"ended,omitempty"`
	Report      Report    `json:"report"`

	// Heard is the broker's clock at this record.
	Heard time.Time `json:"-"`

	first int64 // offset of its first record that is still there
}

// Report is how far a process is, and what of it is not as it should be.
type Report struct {
	// At is the next offset of each partition that the process works on, by part,
	// topic and partition; -1 for those of others.
	At       map[string]map[string][]int64 `json:"at,omitempty"`
	Troubles []Trouble                     `json:"troubles,omitempty"`
	More     int                           `json:"more,omitempty"` // troubles beyond those listed
	Deferred int                           `json:"deferred,omitempty"`
}

// Trouble is a task or a sink's topic that does not go on. State is waiting,
// failing or stopped.
type Trouble struct {
	Part      string    `json:"part"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"` // -1: the whole topic
	State     string    `json:"state"`
	Reason    string    `json:"reason,omitempty"`
	Message   string    `json:"message"`
	Since     time.Time `json:"since"`
}

// Taken is the end of a newcomer: its slot belongs to a process that lives.
type Taken struct{ Holder Process }

func (t *Taken) Error() string {
	return fmt.Sprintf("slot %d is taken by process %d on %s, which runs since %s", t.Holder.Slot, t.Holder.PID, t.Holder.Host, t.Holder.Since.Format(time.DateTime))
}

// Presence is this process in the topic of processes.
type Presence struct {
	cfg   Config
	topic string
	cl    *kgo.Client
	log   *slog.Logger
	every time.Duration

	stop context.CancelFunc
	side sync.WaitGroup

	mu    sync.Mutex
	self  Process
	read  int64 // offset behind the last record read
	seen  map[string]Process
	heard chan struct{} // closed and made anew at every record
}

// keptRecords is how many records the topic of processes keeps.
const keptRecords = 500

// heardTime is for how long a process counts as living that is not heard of.
const heardTime = 15 * time.Second

// Claim takes the slot for these parts. A holder that lives keeps it: the
// newcomer gives it the session time-out to end, and then fails with *Taken. One
// that has ended, whose process is gone from this machine, or that is not heard
// of for so long, has left its slot free.
func Claim(ctx context.Context, cfg Config, topic, version string, parts []string) (*Presence, error) {
	cfg = cfg.withDefaults()
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	pid := os.Getpid()
	p := &Presence{
		cfg: cfg, topic: topic, log: cfg.Log, every: min(2*time.Second, cfg.SessionTimeout/4), seen: map[string]Process{}, heard: make(chan struct{}),
		self: Process{Incarnation: rand.Text(), Slot: cfg.Slot, Parts: parts, Host: host, PID: pid, Space: processSpace(), Ticks: processTicks(pid), Version: version, Since: time.Now().UTC()},
	}
	if p.cl, err = kgo.NewClient(append(cfg.connectOpts(fmt.Sprintf("%s.process.%d", cfg.Prefix, cfg.Slot)),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}),
		kgo.FetchMaxWait(time.Second),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordDeliveryTimeout(10*time.Second),
	)...); err != nil {
		return nil, fmt.Errorf("making the client of processes: %w", err)
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	if err := p.claim(ctx, life); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *Presence) claim(ctx, life context.Context) error {
	admin := kadm.NewClient(p.cl)
	end, err := ensureProcesses(ctx, admin, p.cfg, p.topic)
	if err != nil {
		return err
	}
	p.side.Go(func() { p.follow(life) })
	if err := p.readUntil(ctx, end); err != nil {
		return err
	}
	settled := map[string]bool{}
	if err := p.outlive(ctx, math.MaxInt64, settled); err != nil {
		return err
	}
	// Of newcomers at the same moment the earlier record wins.
	ours, err := p.tell(ctx, nil, false)
	if err != nil {
		return err
	}
	if err := p.readUntil(ctx, ours+1); err != nil {
		return err
	}
	if err := p.outlive(ctx, ours, settled); err != nil {
		_, _ = p.tell(context.WithoutCancel(ctx), nil, true) // a slot that was not taken needs no word, it only saves others the wait
		return err
	}
	if err := p.bury(ctx, settled); err != nil {
		return err
	}
	_, err = p.tell(ctx, nil, false) // before whoever waits for us loses patience
	return err
}

// bury says of those found gone that they have ended, so that nobody waits for
// them again. One that was only frozen says otherwise with its next record.
func (p *Presence) bury(ctx context.Context, gone map[string]bool) error {
	for incarnation := range gone {
		p.mu.Lock()
		dead := p.seen[incarnation]
		p.mu.Unlock()
		if dead.Ended {
			continue
		}
		dead.Ended = true
		if _, err := p.write(ctx, dead); err != nil {
			return err
		}
	}
	return nil
}

// ensureProcesses makes the topic, whose records carry the broker's clock, and
// returns its end, 0 where there is nothing to read.
func ensureProcesses(ctx context.Context, admin *kadm.Client, cfg Config, topic string) (end int64, err error) {
	value := func(s string) *string { return &s }
	configs := map[string]*string{
		"cleanup.policy": value("delete"), "retention.ms": value("-1"), "retention.bytes": value("-1"),
		"message.timestamp.type": value("LogAppendTime"),
	}
	made, err := admin.CreateTopic(ctx, 1, cfg.Replication, configs, topic)
	if err = errors.Join(err, made.Err); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return 0, fmt.Errorf("creating topic %q: %w", topic, err)
	}
	// A broker's metadata lags behind its controller.
	for try := 0; ; try++ {
		from, to, err := edges(ctx, admin, topic)
		if err == nil && from == to {
			return 0, nil
		}
		if err == nil {
			return to, nil
		}
		if try == 100 || !errors.Is(err, kerr.UnknownTopicOrPartition) || !pause(ctx, 100*time.Millisecond) {
			return 0, fmt.Errorf("reading topic %q: %w", topic, err)
		}
	}
}

// edges are start and end of partition 0 of a topic.
func edges(ctx context.Context, admin *kadm.Client, topic string) (from, to int64, err error) {
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return 0, 0, err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	first, _ := starts.Lookup(topic, 0)
	last, _ := ends.Lookup(topic, 0)
	return first.Offset, last.Offset, err
}

// outlive waits for the holders of this slot to be gone whose first record lies
// before an offset. Those in settled count no more; those found gone are added.
func (p *Presence) outlive(ctx context.Context, before int64, settled map[string]bool) error {
	patience := time.NewTimer(p.cfg.SessionTimeout + p.every)
	defer patience.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	first := map[string]int64{}
	told := false
	for {
		holders := p.holders(before, settled)
		for _, h := range holders {
			if _, known := first[h.Incarnation]; !known {
				first[h.Incarnation] = h.Seq
			}
			if processGone(h, p.self.Space) {
				settled[h.Incarnation] = true
			}
		}
		if holders = p.holders(before, settled); len(holders) == 0 {
			return nil
		}
		if !told {
			told = true
			h := holders[0]
			p.log.Warn("the slot has a holder; waiting for it to end", "slot", h.Slot, "host", h.Host, "pid", h.PID, "at_most", p.cfg.SessionTimeout)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-patience.C:
			for _, h := range holders {
				if h.Seq > first[h.Incarnation] {
					return &Taken{Holder: h}
				}
				settled[h.Incarnation] = true // not heard of for a whole session
			}
			return nil
		}
	}
}

// holders are the others with this slot and one of these parts, first heard of
// before an offset.
func (p *Presence) holders(before int64, settled map[string]bool) (out []Process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, other := range p.seen {
		shared := slices.ContainsFunc(other.Parts, func(part string) bool { return slices.Contains(p.self.Parts, part) })
		if other.Slot == p.self.Slot && shared && !other.Ended && other.first < before && other.Incarnation != p.self.Incarnation && !settled[other.Incarnation] {
			out = append(out, other)
		}
	}
	slices.SortFunc(out, func(a, b Process) int { return a.Since.Compare(b.Since) })
	return out
}

// follow reads the topic until ctx ends.
func (p *Presence) follow(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := p.cl.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			if ctx.Err() == nil && !errors.Is(e.Err, context.Canceled) {
				p.log.Warn("cannot read the topic of processes", "error", e.Err)
				pause(ctx, time.Second)
			}
		}
		p.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) {
			p.read = r.Offset + 1
			noteProcess(p.seen, r)
		})
		close(p.heard)
		p.heard = make(chan struct{})
		p.mu.Unlock()
	}
}

// noteProcess takes over one record; one that is none is passed over, since
// everything here can be said again in two seconds.
func noteProcess(seen map[string]Process, r *kgo.Record) {
	var said Process
	if json.Unmarshal(r.Value, &said) != nil || said.Incarnation == "" {
		return
	}
	said.Heard, said.first = r.Timestamp, r.Offset
	before, known := seen[said.Incarnation]
	if known {
		said.first = before.first
	}
	if !known || said.Seq >= before.Seq {
		seen[said.Incarnation] = said
	}
}

func (p *Presence) readUntil(ctx context.Context, end int64) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		p.mu.Lock()
		read, heard := p.read, p.heard
		p.mu.Unlock()
		if read >= end {
			return nil
		}
		select {
		case <-heard:
		case <-ctx.Done():
			return fmt.Errorf("reading the topic of processes up to offset %d: %w", end, ctx.Err())
		}
	}
}

// tell writes a record and returns its offset.
func (p *Presence) tell(ctx context.Context, report func() Report, ended bool) (int64, error) {
	p.mu.Lock()
	p.self.Seq++
	p.self.At, p.self.Ended = time.Now().UTC(), ended
	if report != nil {
		p.self.Report = report()
	}
	said := p.self
	p.mu.Unlock()
	return p.write(ctx, said)
}

func (p *Presence) write(ctx context.Context, said Process) (int64, error) {
	value, err := json.Marshal(said)
	if err != nil {
		return 0, fmt.Errorf("encoding what is said of the process: %w", err)
	}
	r, err := p.cl.ProduceSync(ctx, &kgo.Record{Topic: p.topic, Partition: 0, Key: []byte(said.Incarnation), Value: value}).First()
	if err != nil {
		return 0, fmt.Errorf("writing to the topic of processes: %w", err)
	}
	return r.Offset, nil
}

// Beat says every two seconds that the process lives, and what of it is not as
// it should be, until ctx ends.
func (p *Presence) Beat(ctx context.Context, report func() Report) {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		end, err := p.tell(ctx, report, false)
		if err != nil {
			if ctx.Err() == nil {
				p.log.Warn("cannot say that this process lives", "error", err)
			}
			continue
		}
		if n%100 == 0 && end > keptRecords {
			offsets := kadm.Offsets{}
			offsets.AddOffset(p.topic, 0, end-keptRecords, -1)
			if _, err := kadm.NewClient(p.cl).DeleteRecords(ctx, offsets); err != nil && ctx.Err() == nil {
				p.log.Warn("cannot delete old records of the topic of processes", "error", err)
			}
		}
	}
}

// Others are the processes that live, this one left out, by slot.
func (p *Presence) Others() []Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	var now time.Time // by the broker's clock; this process's own record is never old
	for _, other := range p.seen {
		if other.Heard.After(now) {
			now = other.Heard
		}
	}
	var out []Process
	for _, other := range p.seen {
		if !other.Ended && other.Incarnation != p.self.Incarnation && now.Sub(other.Heard) < heardTime {
			out = append(out, other)
		}
	}
	return bySlot(out)
}

func bySlot(all []Process) []Process {
	slices.SortFunc(all, func(a, b Process) int {
		if a.Slot != b.Slot {
			return a.Slot - b.Slot
		}
		return a.Since.Compare(b.Since)
	})
	return all
}

// End gives the slot back, at once for whoever comes next.
func (p *Presence) End() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := p.tell(ctx, nil, true); err != nil {
		p.log.Warn("cannot say that this process has ended", "error", err)
	}
	p.close()
}

func (p *Presence) close() {
	p.stop()
	p.side.Wait()
	p.cl.Close()
}

// Processes are those that have said something and not that they have ended, by
// slot; none where the topic is not there. Some may have died without a word:
// Heard tells when.
func Processes(ctx context.Context, cfg Config, topic string) ([]Process, error) {
	cl, err := cfg.asking(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return nil, fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	from, to, err := edges(ctx, kadm.NewClient(cl), topic)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading topic %q: %w", topic, err)
	}
	seen := map[string]Process{}
	for next := from; next < to; {
		fetches := cl.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return nil, fmt.Errorf("reading topic %q: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			noteProcess(seen, r)
		})
	}
	var out []Process
	for _, p := range seen {
		if !p.Ended {
			out = append(out, p)
		}
	}
	return bySlot(out), nil
}

// The bounds of a report.
const (
	maxTroubles     = 50
	maxTroubleWords = 500
)

// elsewhere is how far another process is with a partition, by the word heard
// last; false if none works on it.
func elsewhere(others []Process, part, topic string, partition int32) (next int64, ok bool) {
	var heard time.Time
	for i := range others {
		at := others[i].Report.At[part][topic]
		if int(partition) < len(at) && at[partition] >= 0 && others[i].Heard.After(heard) {
			next, ok, heard = at[partition], true, others[i].Heard
		}
	}
	return next, ok
}

func (r *Report) at(part, topic string, partition int32, next int64) {
	if r.At == nil {
		r.At = map[string]map[string][]int64{}
	}
	if r.At[part] == nil {
		r.At[part] = map[string][]int64{}
	}
	list := r.At[part][topic]
	for int(partition) >= len(list) {
		list = append(list, -1)
	}
	list[partition] = next
	r.At[part][topic] = list
}

// ReportOf gathers what there is to say of a process; either may be nil.
// Positions are read before what is deferred: whoever adds both up may count a
// record twice, and never misses one.
func ReportOf(t *Transform, d *Deliver) (r Report) {
	if t != nil {
		t.positions(&r)
	}
	if d != nil {
		d.positions(&r)
	}
	add := func(x Trouble) {
		if len(r.Troubles) == maxTroubles {
			r.More++
			return
		}
		x.Message = x.Message[:min(len(x.Message), maxTroubleWords)]
		r.Troubles = append(r.Troubles, x)
	}
	if t != nil {
		for _, h := range t.Status().Hops {
			for _, task := range h.Tasks {
				if task.State == "stopped" || task.State == "waiting" {
					add(Trouble{Part: h.Name, Topic: task.Topic, Partition: task.Partition, State: task.State, Reason: task.Reason, Message: task.Message, Since: task.Since})
				}
				if task.Deferred {
					r.Deferred++
				}
			}
		}
	}
	if d != nil {
		for _, l := range d.Status().Lines {
			if l.State == "stopped" || l.State == "failing" {
				add(Trouble{Part: d.cfg.Sink, Topic: l.Topic, Partition: -1, State: l.State, Message: l.Message, Since: l.Since})
			}
		}
	}
	return r
}
