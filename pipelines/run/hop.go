package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// hop runs one Hop in this process: one group member, one producer, one loop.
type hop struct {
	def          Hop
	cfg          Config
	log          *slog.Logger
	group        string
	clientID     string // also transactional and instance id
	share        int
	limit        int             // bytes of one transaction
	outputs      []Topic         // with the letter topic
	queues       map[string]bool // inputs that belong to us and that only this hop reads
	emptied      map[partitionID]bool
	ownChangelog bool // a task's changelog partition is its own number
	// inputPartitions is exact for owned inputs and about right for sources.
	inputPartitions int
	admin           *kadm.Client
	orders          *orders // nil where there are no instructions
	heard           int64   // instructions below are known to all tasks; -1 after a task has come
	consumer        *kgo.Client
	producer        *producer

	life   context.Context //nolint:containedctx // a hop is one run: until its loop has ended
	cancel context.CancelCauseFunc
	side   sync.WaitGroup

	mu       sync.Mutex // guards the maps and lists below; tasks themselves belong to the loop
	topics   map[string]topicMeta
	owned    map[partitionID]*lease
	tasks    map[partitionID]*task
	assigned []*lease
	ready    []*restored
	stopPoll context.CancelFunc
	awake    bool
	failure  error

	blocked  atomic.Bool // a rebalance waits for the transaction to end
	doubt    atomic.Bool // a restore waits for what may be our own transaction
	lastEnd  time.Time
	endEWMA  time.Duration
	active   []*task // touched in the transaction under way
	setbacks int     // transactions in a row that were not committed
	endTimes latencies

	committed, aborted, resolved atomic.Int64
	anyStopped                   atomic.Bool
}

var (
	errCrash = errors.New("crash point")
	// ErrFenced is the end of a hop whose slot another live process has taken.
	ErrFenced = errors.New("fenced: another process runs with the same prefix and slot; give every process a slot of its own")
)

func (h *hop) crash(point string) error {
	if h.cfg.Crash == nil {
		return nil
	}
	if err := h.cfg.Crash(point); err != nil {
		return fmt.Errorf("%w %s: %w", errCrash, point, err)
	}
	return nil
}

// start makes the clients. found are the input topics that exist.
func (h *hop) start(ctx context.Context, found map[string]topicMeta) error {
	var err error
	if h.producer, err = newProducer(h.life, h.cfg, h.clientID, h.share, h.written(), h.admin); err != nil {
		return err
	}
	if err := h.producer.fence(ctx); err != nil {
		return err
	}
	h.consumer, err = kgo.NewClient(append(h.cfg.memberOpts(h.group, h.clientID, h.share/4, h.inputPartitions),
		kgo.RebalanceTimeout(30*time.Second),
		kgo.OnPartitionsAssigned(h.onAssigned),
		kgo.OnPartitionsRevoked(h.onRevoked),
		kgo.OnPartitionsLost(h.onRevoked),
		kgo.OnPartitionsCallbackBlocked(func(context.Context, *kgo.Client) { h.blocked.Store(true) }),
	)...)
	if err != nil {
		return fmt.Errorf("making the consumer %s: %w", h.clientID, err)
	}
	return h.noteTopics(found)
}

// written are the topics that a transaction of this hop may touch.
func (h *hop) written() []string {
	names := []string{h.def.Changelog.Name}
	for _, t := range h.outputs {
		names = append(names, t.Name)
	}
	return names
}

// onAssigned runs in the group's goroutine. It pauses what came and leaves the
// rest to the loop.
func (h *hop) onAssigned(_ context.Context, cl *kgo.Client, added map[string][]int32) {
	cl.PauseFetchPartitions(added)
	h.mu.Lock()
	for topic, parts := range added {
		for _, p := range parts {
			l := &lease{id: partitionID{topic, p}}
			h.owned[l.id] = l
			delete(h.tasks, l.id)
			h.assigned = append(h.assigned, l)
		}
	}
	h.mu.Unlock()
	h.wake()
}

// onRevoked runs in the group's goroutine, and only while the loop holds no
// transaction: the poll's block is released after End alone.
func (h *hop) onRevoked(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for topic, parts := range gone {
		for _, p := range parts {
			delete(h.owned, partitionID{topic, p})
			delete(h.tasks, partitionID{topic, p})
		}
	}
}

// wake ends the poll under way, or the next one at once.
func (h *hop) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.awake = true
	if h.stopPoll != nil {
		h.stopPoll()
	}
}

// fail ends the hop from beside the loop.
func (h *hop) fail(err error) { h.cancel(err) }

// poll waits for input for at most d and returns with rebalances blocked, with
// or without input.
func (h *hop) poll(ctx context.Context, d time.Duration) kgo.Fetches {
	if fetches := h.consumer.PollRecords(nil, -1); len(fetches) > 0 { //nolint:staticcheck // nil is kgo's "do not wait"
		return fetches
	}
	pollCtx, cancel := context.WithTimeout(ctx, max(d, 0))
	defer cancel()
	h.mu.Lock()
	if h.awake {
		cancel()
	}
	h.awake = false
	h.stopPoll = cancel
	h.mu.Unlock()
	if d <= 0 {
		cancel()
	}
	return h.consumer.PollRecords(pollCtx, -1)
}

// run is the loop. It returns nil after a drain.
func (h *hop) run(ctx context.Context) (err error) {
	defer func() {
		h.shut(err)
		if err != nil {
			h.mu.Lock()
			h.failure = err
			h.mu.Unlock()
		}
	}()
	h.side.Go(func() { h.watchTopics(h.life) })
	if len(h.queues) > 0 {
		h.side.Go(func() { h.purge(h.life) })
	}
	// Past the drain deadline nothing is waited for; the broker then aborts.
	hard, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(h.cfg.DrainTimeout, stop) })()

	pollCtx, stopPolls := context.WithCancel(ctx)
	defer stopPolls()
	defer context.AfterFunc(h.life, stopPolls)()

	for {
		if cause := context.Cause(h.life); cause != nil {
			return cause
		}
		if ctx.Err() != nil {
			return nil
		}
		if h.doubt.Swap(false) {
			if err := h.producer.insist(pollCtx); err != nil {
				h.log.Warn("stopping with a transaction in doubt", "error", err)
			}
		}
		if err := h.settleTasks(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil // a task that has just come does not begin
		}
		fetches := h.poll(pollCtx, h.idleWait())
		if err := h.gather(pollCtx, fetches); err != nil {
			return err
		}
		if err := h.transact(hard); err != nil {
			return err
		}
		h.blocked.Store(false)
		h.consumer.AllowRebalance()
		if h.setbacks > 0 {
			// What kept it from committing (most often a group that has to settle)
			// needs time, not more aborted transactions.
			pause(pollCtx, min(10*time.Millisecond<<min(h.setbacks, 10), time.Second))
		}
	}
}

// shut closes the clients. After a crash or a failure nothing more is said to
// the broker than that the connections end.
func (h *hop) shut(err error) {
	h.cancel(errors.New("hop ended"))
	h.side.Wait()
	h.consumer.CloseAllowingRebalance()
	h.producer.cl.Close()
	if err == nil {
		leaveGroup(h.cfg, h.group, h.clientID, h.log)
	}
}

// leaveGroup takes a static member out of its group, if so configured. It comes
// after the member's client is closed, or that would join again.
func leaveGroup(cfg Config, group, instance string, log *slog.Logger) {
	if !cfg.LeaveOnDrain {
		return
	}
	cl, err := kgo.NewClient(cfg.connectOpts(instance + ".leave")...)
	if err != nil {
		log.Warn("cannot leave the group", "error", err)
		return
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	b := kadm.LeaveGroup(group).InstanceIDs(instance).Reason("leaving on drain")
	if _, err := kadm.NewClient(cl).LeaveGroup(ctx, b); err != nil {
		log.Warn("cannot leave the group", "error", err)
	}
}

// abandon closes what start has made.
func (h *hop) abandon() {
	h.cancel(errors.New("hop did not start"))
	if h.consumer != nil {
		h.consumer.Close()
	}
	if h.producer != nil {
		h.producer.cl.Close()
	}
}

// idleWait is how long the loop may sleep in poll.
func (h *hop) idleWait() time.Duration {
	wait := time.Second
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.tasks {
		if t.stopped != nil {
			continue
		}
		if t.more || t.owes || t.due() {
			return 0
		}
		if t.paused {
			wait = min(wait, max(t.waitUntil.Sub(now), 0))
		}
	}
	return wait
}

// settleTasks starts restores of what was assigned, makes tasks of what is
// restored, and resumes what has waited long enough.
func (h *hop) settleTasks() error {
	h.mu.Lock()
	assigned, ready := h.assigned, h.ready
	h.assigned, h.ready = nil, nil
	h.mu.Unlock()
	if len(assigned) > 0 {
		h.side.Go(func() { h.restore(h.life, assigned) })
	}
	for _, r := range ready {
		h.install(r)
	}
	h.lookAtOrders()
	h.startRereads()
	now := time.Now()
	var resume []partitionID
	h.mu.Lock()
	for id, t := range h.tasks {
		switch {
		case t.stopped != nil:
			if now.Sub(t.nagged) > 30*time.Second {
				t.nagged = now
				t.log.Error("task is stopped", "error", t.stopped)
			}
		case t.paused && !now.Before(t.waitUntil):
			t.paused = false
			resume = append(resume, id)
		case t.next != t.committed.next && t.drifted.IsZero():
			t.drifted = now
		case t.next != t.committed.next && now.Sub(t.drifted) > driftAfter:
			t.owes = true
		}
	}
	h.mu.Unlock()
	for _, id := range resume {
		h.consumer.ResumeFetchPartitions(map[string][]int32{id.topic: {id.partition}})
	}
	return nil
}

// driftAfter is how long a position may be ahead of the committed one by
// transaction markers alone. Were it for ever, a source's retention that takes
// the last marker would look like a loss.
const driftAfter = 10 * time.Second

// install makes the task of a restored partition, if that is still ours, and
// lets its input flow.
func (h *hop) install(r *restored) {
	h.mu.Lock()
	if h.owned[r.id] != r.lease {
		h.mu.Unlock()
		return
	}
	h.mu.Unlock()
	t := newTask(h, r)
	err := r.err
	if err == nil {
		t.impl, err = h.def.NewTask(TaskInfo{Hop: h.def.Name, Topic: r.id.topic, Partition: r.id.partition, Store: t.table, Log: t.log})
	}
	t.stats.keys.Store(int64(t.table.Len()))
	t.stats.bytes.Store(int64(t.table.Bytes()))
	if err != nil {
		t.more = false
		t.stats.deferred.Store(false)
		t.stop(restoreReason(err), err)
	}
	h.mu.Lock()
	if h.owned[r.id] != r.lease {
		h.mu.Unlock()
		return
	}
	h.tasks[r.id] = t
	h.heard = -1
	h.mu.Unlock()
	if err != nil {
		return
	}
	t.log.Info("task restored", "records", r.records, "keys", t.table.Len(), "next", t.next, "took", r.took)
	if t.next >= 0 {
		// The group's offset may have lapsed, or not have been what the state is at.
		h.rewind(t.id, t.next)
	}
	h.consumer.ResumeFetchPartitions(map[string][]int32{r.id.topic: {r.id.partition}})
}

// restoreReason is the stable code of what kept a task from starting.
func restoreReason(err error) string {
	if l, ok := errors.AsType[*loss](err); ok {
		return l.reason
	}
	return "restore"
}

// stop ends a task loudly: its partition stays paused, the others go on.
func (t *task) stop(reason string, err error) {
	t.stopped = err
	t.hop.anyStopped.Store(true)
	t.nagged = time.Now()
	t.stats.setStopped(reason, err.Error())
	t.log.Error("task stopped", "reason", reason, "error", err)
}

// fetchError judges an error that a poll brought.
func (h *hop) fetchError(topic string, partition int32, err error) error {
	var session *kgo.ErrGroupSession
	var reset *kgo.ErrDataLoss
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed):
		return nil
	case errors.Is(err, kerr.FencedInstanceID):
		return fmt.Errorf("hop %s: %w: %w", h.def.Name, ErrFenced, err)
	case errors.As(err, &session):
		h.log.Warn("group session ended, joining again", "error", err)
		return nil
	}
	h.mu.Lock()
	t := h.tasks[partitionID{topic, partition}]
	h.mu.Unlock()
	var inflated *kgo.ErrDecompressTooLarge
	reason := ""
	switch {
	case errors.Is(err, kerr.OffsetOutOfRange):
		reason = lossOutOfRange // unless the bounds tell more
	case errors.As(err, &reset):
		reason = lossTruncated
	case errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID):
		reason = lossRecreated
	case errors.As(err, &inflated):
		reason = "decompression"
	}
	if t == nil || reason == "" {
		// Without a task, what the restore finds of the partition counts.
		h.log.Warn("fetch error", "topic", topic, "partition", partition, "error", err)
		return nil
	}
	if t.stopped != nil || t.halt != nil {
		return nil //nolint:nilerr // it has stopped for one before
	}
	t.haltReason = reason
	if inflated != nil {
		t.halt = fmt.Errorf("task %s: reading from offset %d: %w; raise max decompress batch bytes, if the producer of this topic can be trusted", t.id, t.next, err)
	} else {
		lost := h.lost(t, reason)
		t.halt, t.haltReason = fmt.Errorf("%w (%w)", lost, err), restoreReason(lost)
	}
	h.hold(t.id)
	h.activate(t)
	return nil
}
