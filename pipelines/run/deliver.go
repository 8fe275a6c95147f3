package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/schemas/change"
)

// ErrPermanent marks, wrapped in a Writer's error, that repeating the write is
// in vain: the topic stops and waits for a human.
var ErrPermanent = change.ErrPermanent

// Writer is what Deliver needs of a sink. Both methods must be safe for
// concurrent use with different topics.
type Writer interface {
	// Write stores a batch. It is called with the very same batch until it
	// succeeds or fails with ErrPermanent, also when an earlier call may have
	// stored it: it must change nothing then. After an error of
	// [change.ErrTargetLost] the topic begins anew where Resume says.
	Write(ctx context.Context, b change.Batch) error
	// Resume tells, for newly assigned partitions of a topic, the next offset
	// after what the target itself holds, and of which topic that is; a partition
	// that it has nothing of is absent from the map.
	Resume(ctx context.Context, topic string, partitions []int32) (map[int32]change.Settled, error)
}

// DeliverConfig is what a Deliver needs. Of Config it uses the connection, the
// prefix, the slot, the time-outs, the byte budget and the logger.
type DeliverConfig struct {
	Config
	Sink   string   // part of the group's name; stable for ever
	Topics []string // read committed; an absent one is read when it appears
	// FlushAfter bounds how long a record lies in the buffer. 500 ms.
	FlushAfter time.Duration
	// FlushRows and FlushBytes end a batch before that. 50,000 rows, 8 MiB.
	FlushRows, FlushBytes int
	// Concurrency is how many topics are written at once. 2.
	Concurrency int
	// BackoffMin and BackoffMax bound the pause before a write is repeated.
	// 100 ms, 10 s.
	BackoffMin, BackoffMax time.Duration
	// WriteTimeout bounds one call of Writer. 60 s.
	WriteTimeout time.Duration
}

func (c DeliverConfig) withDefaults() DeliverConfig {
	c.Config = c.Config.withDefaults()
	defaulted(&c.FlushAfter, 500*time.Millisecond)
	defaulted(&c.FlushRows, 50_000)
	defaulted(&c.FlushBytes, 8<<20)
	defaulted(&c.Concurrency, 2)
	defaulted(&c.BackoffMin, 100*time.Millisecond)
	defaulted(&c.BackoffMax, 10*time.Second)
	defaulted(&c.WriteTimeout, time.Minute)
	return c
}

// Deliver reads topics and hands their records to a Writer, at least once, in
// batches whose repetition the Writer can tell. Where to go on after a restart
// or a rebalance is the target's word, not the group's: group offsets are
// committed for display only.
type Deliver struct {
	cfg    DeliverConfig
	writer Writer
	log    *slog.Logger
	group  string
	id     string

	cl    *kgo.Client
	admin *kadm.Client

	mu      sync.Mutex
	lines   map[string]*line
	known   map[string]topicMeta
	held    int // bytes buffered and in flight
	awake   chan struct{}
	writing sync.WaitGroup
}

// line is one topic on its way to the target: what is buffered, and the batch
// being written. At most one batch of a topic is in flight.
type line struct {
	topic    string
	parts    map[int32]*pendingPart
	rows     int
	bytes    int
	oldest   time.Time
	inFlight *flight
	stopped  error
	lost     *lostLine // nil while the target is what it was
	losses   int       // in a row
	stats    lineStats
}

// pendingPart is one assigned partition.
type pendingPart struct {
	from    int64 // first offset of the next part; -1 unknown
	next    int64 // behind the last record seen; -1 unknown
	end     int64 // the partition's stable end, as last fetched
	bytes   int
	records []change.Record
}

type flight struct {
	batch  change.Batch
	bytes  int
	done   chan struct{}
	owners map[int32]*pendingPart
}

// NewDeliver checks the configuration.
func NewDeliver(cfg DeliverConfig, w Writer) (*Deliver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("checking the configuration: %w", err)
	}
	cfg = cfg.withDefaults()
	if !prefixRule.MatchString(cfg.Sink) {
		return nil, fmt.Errorf("sink name %q: must be 1 to 60 of letters, digits, dot, underscore and hyphen", cfg.Sink)
	}
	if len(cfg.Topics) == 0 {
		return nil, fmt.Errorf("sink %s: no topics", cfg.Sink)
	}
	d := &Deliver{
		cfg: cfg, writer: w,
		group: cfg.Prefix + "." + cfg.Sink,
		id:    fmt.Sprintf("%s.%s.%d", cfg.Prefix, cfg.Sink, cfg.Slot),
		log:   cfg.Log.With("sink", cfg.Sink),
		lines: map[string]*line{}, known: map[string]topicMeta{}, awake: make(chan struct{}, 1),
	}
	for _, topic := range cfg.Topics {
		d.lines[topic] = &line{topic: topic, parts: map[int32]*pendingPart{}}
	}
	return d, nil
}

// Run delivers until ctx is cancelled; then it waits for writes under way, at
// most the drain time-out, and forgets what is only buffered.
func (d *Deliver) Run(ctx context.Context) error {
	cl, err := kgo.NewClient(append(d.cfg.memberOpts(d.group, d.id, d.cfg.MaxBufferedBytes/4, partitionsAbout*len(d.cfg.Topics)),
		kgo.AdjustFetchOffsetsFn(d.startOffsets),
		kgo.OnPartitionsRevoked(d.onRevoked),
		kgo.OnPartitionsLost(d.onRevoked),
	)...)
	if err != nil {
		return fmt.Errorf("making the consumer %s: %w", d.id, err)
	}
	d.mu.Lock()
	d.cl, d.admin = cl, kadm.NewClient(cl)
	d.mu.Unlock()
	defer func() {
		cl.CloseAllowingRebalance()
		leaveGroup(d.cfg.Config, d.group, d.id, d.log)
	}()

	// Writes outlive the drain's beginning by the drain time-out.
	hard, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var side sync.WaitGroup
	life, end := context.WithCancel(ctx)
	side.Go(func() { d.watch(life) })
	err = d.loop(life, hard)
	end()
	timer := time.AfterFunc(d.cfg.DrainTimeout, stop)
	d.writing.Wait()
	timer.Stop()
	side.Wait()
	return err
}

// watch subscribes topics as they appear, and stops the lines of those that are
// made anew.
func (d *Deliver) watch(ctx context.Context) {
	for {
		found, err := describeTopics(ctx, d.admin, d.cfg.Topics)
		if err != nil && ctx.Err() == nil {
			d.log.Warn("cannot refresh topics", "error", err)
		}
		var added []string
		d.mu.Lock()
		for name, meta := range found {
			before, known := d.known[name]
			switch {
			case !known:
				d.known[name] = meta
				added = append(added, name)
			case before.other(meta):
				l := d.lines[name]
				for _, p := range slices.Sorted(maps.Keys(l.parts)) {
					d.stopLine(l, d.partLoss(l, p, lossRecreated)) // the first one names the topic
				}
			}
		}
		d.mu.Unlock()
		if len(added) > 0 {
			slices.Sort(added)
			d.log.Info("topics subscribed", "topics", added)
			d.cl.AddConsumeTopics(added...)
		}
		if !pause(ctx, d.cfg.TopicRefresh) {
			return
		}
	}
}

// startOffsets says where newly assigned partitions begin: where the target
// ends, else at the beginning. It waits for a write
// of the same topic that is under way, and for a target that does not answer,
// as long as the assignment lasts.
func (d *Deliver) startOffsets(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for topic, parts := range offsets {
		d.mu.Lock()
		l := d.lines[topic]
		var flying chan struct{}
		if l != nil && l.inFlight != nil {
			flying = l.inFlight.done
		}
		d.mu.Unlock()
		if l == nil {
			continue
		}
		if flying != nil {
			select {
			case <-flying:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		numbers := make([]int32, 0, len(parts))
		for p := range parts {
			numbers = append(numbers, p)
		}
		slices.Sort(numbers)
		next, holds, err := d.resume(ctx, l, numbers)
		if err != nil {
			return nil, err
		}
		d.mu.Lock()
		meta := d.known[topic]
		for _, p := range numbers {
			start := pendingPart{from: -1, next: -1, end: -1}
			at, ok := next[p]
			if err := checkLine(partitionID{topic, p}, at, ok, meta, holds); err != nil {
				d.stopLine(l, d.ofLine(err))
			}
			if ok {
				parts[p] = kgo.NewOffset().At(at.Next).WithEpoch(-1)
				start.from, start.next = at.Next, at.Next
			} else {
				// Not the group's offset: a table that was emptied, or a new database,
				// must be filled again. Writing twice what is there changes nothing.
				parts[p] = kgo.NewOffset().AtStart()
			}
			l.parts[p] = &start
		}
		d.mu.Unlock()
		d.log.Info("partitions begin", "topic", topic, "target", next, "partitions", numbers)
	}
	return offsets, nil
}

// resume asks the target where it ends, and then the broker what it holds.
func (d *Deliver) resume(ctx context.Context, l *line, partitions []int32) (map[int32]change.Settled, map[partitionID]bounds, error) {
	for try := 0; ; try++ {
		callCtx, cancel := context.WithTimeout(ctx, d.cfg.WriteTimeout)
		next, err := d.writer.Resume(callCtx, l.topic, partitions)
		what := "asking the target where it ends"
		var holds map[partitionID]bounds
		if err == nil {
			epochs := map[partitionID]int32{}
			for _, p := range partitions {
				epochs[partitionID{l.topic, p}] = -1
			}
			what = "asking the broker what the topic holds"
			holds, err = listBounds(callCtx, d.admin, epochs)
		}
		cancel()
		if err == nil {
			return next, holds, nil
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		l.stats.failed(what, err)
		d.log.Warn("cannot begin, trying again", "topic", l.topic, "doing", what, "error", err)
		if !pause(ctx, d.backoff(try)) {
			return nil, nil, ctx.Err()
		}
	}
}

func (d *Deliver) backoff(try int) time.Duration {
	return min(d.cfg.BackoffMin<<min(try, 16), d.cfg.BackoffMax)
}

// onRevoked forgets what is buffered of partitions that go; their next owner
// reads it again. A batch in flight is left as it is, for its ranges are its
// name; it is given a moment to end before another member asks the target.
func (d *Deliver) onRevoked(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	var flying []chan struct{}
	d.mu.Lock()
	for topic, parts := range gone {
		l := d.lines[topic]
		if l == nil {
			continue
		}
		for _, p := range parts {
			if part := l.parts[p]; part != nil {
				l.rows -= len(part.records)
				l.bytes -= part.bytes
				d.held -= part.bytes
				delete(l.parts, p)
			}
			if l.inFlight != nil && l.inFlight.owners[p] != nil {
				flying = append(flying, l.inFlight.done)
			}
		}
	}
	d.mu.Unlock()
	timeout := time.NewTimer(3 * time.Second)
	defer timeout.Stop()
	for _, done := range flying {
		select {
		case <-done:
		case <-timeout.C:
			return
		}
	}
}

func (d *Deliver) wakeUp() {
	select {
	case d.awake <- struct{}{}:
	default:
	}
}

// loop polls into the buffers and starts writes. At the byte budget it polls no
// more: the broker keeps what memory must not.
func (d *Deliver) loop(ctx, hard context.Context) error {
	for ctx.Err() == nil {
		d.askAgain(ctx)
		wait, full := d.dispatch(hard)
		if full {
			d.cl.AllowRebalance()
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
			case <-d.awake:
			case <-timer.C:
			}
			timer.Stop()
			continue
		}
		pollCtx, cancel := context.WithTimeout(ctx, wait)
		stopWake := make(chan struct{})
		go func() {
			select {
			case <-d.awake:
				cancel()
			case <-stopWake:
			}
		}()
		fetches := d.cl.PollRecords(pollCtx, d.cfg.FlushRows)
		close(stopWake)
		cancel()
		if err := d.buffer(fetches); err != nil {
			return err
		}
		d.beginAgain()
		d.cl.AllowRebalance()
	}
	return nil
}

// buffer takes fetched records in. Rebalances are blocked meanwhile, so a part
// that is there is ours.
func (d *Deliver) buffer(fetches kgo.Fetches) error {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range fetches {
		for j := range fetches[i].Topics {
			topic := &fetches[i].Topics[j]
			l := d.lines[topic.Topic]
			for k := range topic.Partitions {
				p := &topic.Partitions[k]
				if p.Err != nil {
					if err := d.fetchError(l, p); err != nil {
						return err
					}
				}
				if l == nil || l.stopped != nil || l.lost != nil {
					continue
				}
				if part := l.parts[p.Partition]; part != nil && len(p.Records) > 0 {
					d.bufferPart(l, part, p, now)
				}
			}
		}
	}
	return nil
}

func (d *Deliver) bufferPart(l *line, part *pendingPart, p *kgo.FetchPartition, now time.Time) {
	if p.LastStableOffset >= 0 {
		part.end = p.LastStableOffset
	}
	for _, r := range p.Records {
		if r.Offset < part.next {
			// It began at what the target ends at, and the client never goes back.
			d.stopLine(l, d.partLoss(l, p.Partition, lossBackwards))
			return
		}
		if part.from < 0 {
			part.from = r.Offset
		}
		part.next = r.Offset + 1
		if r.Attrs.IsControl() {
			continue
		}
		part.records = append(part.records, change.Record{
			Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value,
		})
		n := len(r.Key) + len(r.Value) + recordFrame
		part.bytes += n
		l.bytes += n
		d.held += n
		if l.rows++; l.rows == 1 {
			l.oldest = now
		}
	}
}

// recordFrame is what a buffered record takes beside its bytes.
const recordFrame = 64

func (d *Deliver) fetchError(l *line, p *kgo.FetchPartition) error {
	err := p.Err
	var reset *kgo.ErrDataLoss
	var inflated *kgo.ErrDecompressTooLarge
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed):
	case errors.Is(err, kerr.FencedInstanceID):
		return fmt.Errorf("sink %s: %w: %w", d.cfg.Sink, ErrFenced, err)
	case l == nil || l.stopped != nil:
	case errors.Is(err, kerr.OffsetOutOfRange), errors.As(err, &reset):
		d.stopLine(l, fmt.Errorf("%w (%w)", d.partLoss(l, p.Partition, lossOutOfRange), err))
	case errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID):
		d.stopLine(l, fmt.Errorf("%w (%w)", d.partLoss(l, p.Partition, lossRecreated), err))
	case errors.As(err, &inflated):
		d.stopLine(l, fmt.Errorf("reading %s/%d: %w; raise max decompress batch bytes, if the producer of this topic can be trusted", l.topic, p.Partition, err))
	default:
		d.log.Warn("fetch error", "error", err)
	}
	return nil //nolint:nilerr // the line stops, or tries again
}
