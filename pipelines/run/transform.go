package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ErrStopped is returned by Run at drain, if so configured, when a task has
// stopped.
var ErrStopped = errors.New("a task has stopped; see the log or the status for the reason")

// Transform runs hops on Kafka. Make one with NewTransform and run it once.
type Transform struct {
	cfg  Config
	hops []Hop

	mu      sync.Mutex
	version int16
	running []*hop
}

// NewTransform checks the configuration and the topology.
func NewTransform(cfg Config, hops []Hop) (*Transform, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("checking the configuration: %w", err)
	}
	cfg = cfg.withDefaults()
	if len(hops) == 0 {
		return nil, errors.New("checking the topology: no hops")
	}
	names := map[string]bool{}
	for _, h := range hops {
		if h.Name == "" || names[h.Name] || h.NewTask == nil || len(h.Inputs) == 0 {
			return nil, fmt.Errorf("checking the topology: hop %q needs a name of its own, inputs and a task constructor", h.Name)
		}
		names[h.Name] = true
	}
	if _, err := ownedTopics(cfg, hops); err != nil {
		return nil, fmt.Errorf("checking the topology: %w", err)
	}
	return &Transform{cfg: cfg, hops: hops}, nil
}

// Run creates and checks the topics, then runs all hops until ctx is cancelled;
// it then ends the transactions under way and returns nil. A hop that cannot go
// on (fenced, a topic whose shape changed) drains the others and is the error.
func (t *Transform) Run(ctx context.Context) error {
	cl, err := kgo.NewClient(t.cfg.connectOpts(fmt.Sprintf("%s.admin.%d", t.cfg.Prefix, t.cfg.Slot))...)
	if err != nil {
		return fmt.Errorf("making the admin client: %w", err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	admin.SetTimeoutMillis(10_000)
	version, err := t.prepare(ctx, cl, admin)
	if err != nil {
		return err
	}
	drain, stop := context.WithCancel(ctx)
	defer stop()
	following, stopFollowing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFollowing()
	orders, err := t.follow(following, stop)
	if err != nil {
		return err
	}
	hops, err := t.start(ctx, admin, orders)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.version, t.running = version, hops
	t.mu.Unlock()

	errs := make([]error, len(hops))
	var wg sync.WaitGroup
	for i, h := range hops {
		wg.Go(func() {
			if errs[i] = h.run(drain); errs[i] != nil {
				h.log.Error("hop ended", "error", errs[i])
				stop()
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if orders.ended() {
		return ErrGeneration
	}
	if t.cfg.FailWhenStopped {
		for _, h := range hops {
			if h.anyStopped.Load() {
				return ErrStopped
			}
		}
	}
	return nil
}

// prepare checks the cluster and brings the owned topics about.
func (t *Transform) prepare(ctx context.Context, cl *kgo.Client, admin *kadm.Client) (version int16, err error) {
	if version, err = transactionVersion(ctx, cl); err != nil {
		return 0, err
	}
	if version < 2 {
		return 0, fmt.Errorf("the cluster's transaction.version is %d, 2 is needed (KIP-890): without it a delayed request can end a later transaction; "+
			"upgrade it with kafka-features.sh upgrade --feature transaction.version=2", version)
	}
	owned, err := ownedTopics(t.cfg, t.hops)
	if err != nil {
		return 0, err
	}
	if err := ensureTopics(ctx, admin, t.cfg, owned); err != nil {
		return 0, err
	}
	return version, nil
}

// follow reads instructions until ctx ends, and calls outdated when a later
// generation begins; nil where there are none.
func (t *Transform) follow(ctx context.Context, outdated func()) (*orders, error) {
	if t.cfg.Instructions.Name == "" {
		return nil, nil //nolint:nilnil // none is no error
	}
	cl, err := t.cfg.instructionReader(fmt.Sprintf("%s.instructions.%d", t.cfg.Prefix, t.cfg.Slot))
	if err != nil {
		return nil, fmt.Errorf("making the reader of instructions: %w", err)
	}
	o := &orders{topic: t.cfg.Instructions.Name, codec: t.cfg.InstructionCodec, log: t.cfg.Log, generation: t.cfg.Generation, outdated: outdated}
	go func() {
		defer cl.Close()
		o.read(ctx, cl)
	}()
	return o, nil
}

func (t *Transform) start(ctx context.Context, admin *kadm.Client, orders *orders) (hops []*hop, err error) {
	defer func() {
		if err != nil {
			for _, h := range hops {
				h.abandon()
			}
		}
	}()
	owned, err := ownedTopics(t.cfg, t.hops)
	if err != nil {
		return nil, err
	}
	for _, def := range t.hops {
		h := t.newHop(def, admin, owned)
		h.follow(orders)
		hops = append(hops, h)
		found, err := t.inputs(ctx, h, owned)
		if err != nil {
			return hops, err
		}
		if err := h.noteEmptied(ctx, found); err != nil {
			return hops, fmt.Errorf("starting hop %s: %w", def.Name, err)
		}
		if err := h.start(ctx, found); err != nil {
			return hops, fmt.Errorf("starting hop %s: %w", def.Name, err)
		}
	}
	return hops, nil
}

func (t *Transform) newHop(def Hop, admin *kadm.Client, owned []Topic) *hop {
	cfg := t.cfg
	h := &hop{
		def: def, cfg: cfg, admin: admin,
		group:    cfg.Prefix + "." + def.Name,
		clientID: fmt.Sprintf("%s.%s.%d", cfg.Prefix, def.Name, cfg.Slot),
		log:      cfg.Log.With(slog.String("hop", def.Name)),
		share:    cfg.share(len(t.hops)),
		outputs:  slices.Clone(def.Outputs),
		queues:   map[string]bool{}, topics: map[string]topicMeta{},
		owned: map[partitionID]*lease{}, tasks: map[partitionID]*task{},
	}
	h.limit = cfg.TransactionBytes
	if h.limit == 0 {
		h.limit = h.share / 4
	}
	if cfg.LetterTopic.Name != "" && !slices.Contains(h.outputs, cfg.LetterTopic) {
		h.outputs = append(h.outputs, cfg.LetterTopic)
	}
	if cfg.Instructions.Name != "" && !slices.Contains(h.outputs, cfg.Instructions) {
		h.outputs = append(h.outputs, cfg.Instructions)
	}
	h.inputPartitions = partitionsAbout * len(def.Inputs)
	for _, topic := range owned {
		if !slices.Contains(def.Inputs, topic.Name) {
			continue
		}
		if topic.Cleanup == Queue && t.readers(topic.Name) == 1 {
			h.queues[topic.Name] = true
		}
		h.inputPartitions += int(topic.Partitions) - partitionsAbout
		h.ownChangelog = len(def.Inputs) == 1 && topic.Partitions == def.Changelog.Partitions
	}
	h.life, h.cancel = context.WithCancelCause(context.Background())
	return h
}

func (t *Transform) readers(topic string) (n int) {
	for _, h := range t.hops {
		if slices.Contains(h.Inputs, topic) {
			n++
		}
	}
	return n
}

// inputs finds the hop's input topics; it waits a little for those that were
// created just now, since a broker's metadata lags behind.
func (t *Transform) inputs(ctx context.Context, h *hop, owned []Topic) (map[string]topicMeta, error) {
	for try := 0; ; try++ {
		found, err := describeTopics(ctx, h.admin, h.def.Inputs)
		if err != nil {
			return nil, err
		}
		missing := false
		for _, topic := range owned {
			_, ok := found[topic.Name]
			missing = missing || (!ok && slices.Contains(h.def.Inputs, topic.Name))
		}
		if !missing || try == 50 {
			if absent := slices.DeleteFunc(slices.Clone(h.def.Inputs), func(name string) bool {
				_, ok := found[name]
				return ok
			}); len(absent) > 0 {
				h.log.Info("input topics are absent; they are read when they appear", "topics", absent)
			}
			return found, nil
		}
		if !pause(ctx, 100*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
}

// Status is safe to call at any time, from any goroutine.
func (t *Transform) Status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Status{TransactionVersion: t.version}
	for _, h := range t.running {
		s.Hops = append(s.Hops, h.status())
	}
	return s
}

// Said returns all instructions that this process has read, in order; none
// before it runs.
func (t *Transform) Said() []Instruction {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.running) == 0 || t.running[0].orders == nil {
		return nil
	}
	all, _ := t.running[0].orders.from(0)
	out := make([]Instruction, len(all))
	for i := range all {
		out[i] = *all[i].Instruction
	}
	return out
}

// Behind asks the broker how many records (with transaction markers) lie
// unread before the tasks of all processes, over all hops: others are those
// beside this one, as they have said of themselves. A partition that nobody works
// on counts from the group's offset, a task with deferred work and one that
// restores count one more. 0 means that everything
// written so far has gone through, provided that nothing is written meanwhile.
func (t *Transform) Behind(ctx context.Context, others []Process) (int64, error) {
	t.mu.Lock()
	hops := t.running
	t.mu.Unlock()
	if len(hops) == 0 {
		return 0, errors.New("asking for the lag: the transform is not running")
	}
	var behind int64
	// In the order of the topology: what an earlier hop still has in hand is
	// written before its own lag is 0.
	for _, h := range hops {
		n, err := h.behind(ctx, others)
		if err != nil {
			return 0, err
		}
		behind += n
	}
	for i := range others {
		behind += int64(others[i].Report.Deferred)
	}
	return behind, nil
}

// positions adds how far the tasks of this process are.
func (t *Transform) positions(r *Report) {
	t.mu.Lock()
	hops := t.running
	t.mu.Unlock()
	for _, h := range hops {
		h.mu.Lock()
		for id, task := range h.tasks {
			r.at(h.def.Name, id.topic, id.partition, max(task.stats.next.Load(), 0))
		}
		h.mu.Unlock()
	}
}

func (h *hop) behind(ctx context.Context, others []Process) (int64, error) {
	// All inputs, not only those subscribed: a source topic that has just
	// appeared counts whole. To the very end, not to the stable offset: a
	// transaction is committed a moment before its markers are written.
	ends, err := listed(h.admin.ListEndOffsets(ctx, h.def.Inputs...))
	if err != nil {
		return 0, fmt.Errorf("listing ends of the inputs of hop %s: %w", h.def.Name, err)
	}
	starts, err := listed(h.admin.ListStartOffsets(ctx, h.def.Inputs...))
	if err != nil {
		return 0, fmt.Errorf("listing starts of the inputs of hop %s: %w", h.def.Name, err)
	}
	committed, err := groupOffsets(ctx, h.admin, h.group)
	if err != nil {
		return 0, err
	}
	var behind int64
	ends.Each(func(o kadm.ListedOffset) {
		start, ok := starts.Lookup(o.Topic, o.Partition)
		if o.Err != nil || !ok || start.Err != nil {
			return // absent
		}
		id := partitionID{o.Topic, o.Partition}
		next := start.Offset
		h.mu.Lock()
		t, owned := h.tasks[id], h.owned[id] != nil
		h.mu.Unlock()
		switch at, known := elsewhere(others, h.def.Name, o.Topic, o.Partition); {
		case t != nil:
			next = max(next, t.stats.next.Load())
			if t.stats.deferred.Load() {
				behind++
			}
		case !owned && known:
			next = max(next, at)
		default:
			if c, ok := committed.Lookup(o.Topic, o.Partition); ok {
				next = max(next, c.At)
			}
			behind++ // nobody says that its task runs: whether it has deferred work is not known
		}
		behind += max(o.Offset-next, 0)
	})
	return behind, nil
}

// groupOffsets are what a group has committed; none where there is no group.
func groupOffsets(ctx context.Context, admin *kadm.Client, group string) (kadm.OffsetResponses, error) {
	offsets, err := admin.FetchOffsets(ctx, group)
	if err != nil && !noGroup(err) {
		return nil, fmt.Errorf("asking for the offsets of %s: %w", group, err)
	}
	return offsets, nil
}

// noGroup tells the errors of a group that does not exist. A cluster on which no
// group has ever been has no coordinator yet.
func noGroup(err error) bool {
	return errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.GroupIDNotFound)
}

// listed takes a topic that does not exist for no error.
func listed(offsets kadm.ListedOffsets, err error) (kadm.ListedOffsets, error) {
	if err != nil {
		return nil, err
	}
	offsets.Each(func(o kadm.ListedOffset) {
		if o.Err != nil && !errors.Is(o.Err, kerr.UnknownTopicOrPartition) {
			err = o.Err
		}
	})
	return offsets, err
}
