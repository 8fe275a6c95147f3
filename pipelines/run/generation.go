package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A generation is everything that hops keep between sources and outputs: their
// groups, transactional ids, queues and changelogs. A rebuild makes the next one
// from the first offsets of the sources. All processes learn of it from the
// instructions: those of an earlier generation end.

// KindRebuild begins a generation, whose number is the instruction's body.
const KindRebuild = "rebuild"

// ErrGeneration is the end of a Transform whose generation is over.
var ErrGeneration = errors.New("a rebuild has begun: this generation of the pipelines is over")

// GenerationOf is the number in the body of an instruction about a generation, 0
// where there is none.
func GenerationOf(i *Instruction) int {
	n, err := strconv.Atoi(string(i.Body))
	if err != nil {
		return 0
	}
	return n
}

// Marks are offsets by topic and partition.
type Marks map[string]map[int32]int64

// Bounds lists where topics begin, and where what is decided in them ends. An
// absent topic is absent from both.
func Bounds(ctx context.Context, cfg Config, topics []string) (starts, ends Marks, err error) {
	cl, err := cfg.asking()
	if err != nil {
		return nil, nil, fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	marks := func(offsets kadm.ListedOffsets) Marks {
		m := Marks{}
		offsets.Each(func(o kadm.ListedOffset) {
			if o.Err == nil {
				if m[o.Topic] == nil {
					m[o.Topic] = map[int32]int64{}
				}
				m[o.Topic][o.Partition] = o.Offset
			}
		})
		return m
	}
	first, err := listed(admin.ListStartOffsets(ctx, topics...))
	if err != nil {
		return nil, nil, fmt.Errorf("listing starts: %w", err)
	}
	last, err := listed(admin.ListCommittedOffsets(ctx, topics...))
	if err != nil {
		return nil, nil, fmt.Errorf("listing ends: %w", err)
	}
	return marks(first), marks(last), nil
}

// Progress is how far a hop is, over all processes.
type Progress struct {
	Members  int   // processes that work on it
	Left     int64 // records below the marks that are not taken
	Deferred int   // tasks with work of their own left
}

// ProgressTo tells how far a hop is on its way to marks in its inputs.
func ProgressTo(ctx context.Context, cfg Config, hop string, to Marks) (p Progress, err error) {
	cl, err := cfg.asking()
	if err != nil {
		return p, fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	group := cfg.withDefaults().Prefix + "." + hop
	described, err := admin.DescribeGroups(ctx, group)
	if err != nil && !noGroup(err) {
		return p, fmt.Errorf("asking for the group %s: %w", group, err)
	}
	p.Members = len(described[group].Members)
	if len(to) == 0 {
		return p, nil
	}
	taken, err := admin.FetchOffsets(ctx, group)
	if err != nil && !noGroup(err) {
		return p, fmt.Errorf("asking for the offsets of %s: %w", group, err)
	}
	starts, err := listed(admin.ListStartOffsets(ctx, slices.Collect(maps.Keys(to))...))
	if err != nil {
		return p, fmt.Errorf("listing starts: %w", err)
	}
	for topic, parts := range to {
		for partition, end := range parts {
			at := int64(0)
			if start, ok := starts.Lookup(topic, partition); ok {
				at = start.Offset
			}
			if o, ok := taken.Lookup(topic, partition); ok {
				at = max(at, o.At)
				if strings.HasSuffix(o.Metadata, deferredMark) {
					p.Deferred++
				}
			}
			p.Left += max(end-at, 0)
		}
	}
	return p, nil
}

// Fence takes over the transactional ids of hops whose processes have ended, so
// that nothing which they left open, or send late, can still be committed.
func Fence(ctx context.Context, cfg Config, hops []string) error {
	cl, err := cfg.asking()
	if err != nil {
		return fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	all, err := kadm.NewClient(cl).ListTransactions(ctx, nil, nil)
	if err != nil {
		return fmt.Errorf("listing transactional ids: %w", err)
	}
	for _, id := range all.TransactionalIDs() {
		if !slices.ContainsFunc(hops, func(hop string) bool {
			slot, ours := strings.CutPrefix(id, cfg.withDefaults().Prefix+"."+hop+".")
			_, err := strconv.Atoi(slot)
			return ours && err == nil
		}) {
			continue
		}
		if err := fenceOne(ctx, cfg, id); err != nil {
			return err
		}
	}
	return nil
}

func fenceOne(ctx context.Context, cfg Config, id string) error {
	cl, err := kgo.NewClient(append(cfg.withDefaults().connectOpts(id), kgo.TransactionalID(id))...)
	if err != nil {
		return fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	if _, _, err := cl.ProducerID(ctx); err != nil {
		return fmt.Errorf("taking over transactional id %s: %w", id, err)
	}
	return nil
}

// ReadAll gives what is committed in topics now to each, partition by partition
// in order.
func ReadAll(ctx context.Context, cfg Config, topics []string, each func(*Message) error) error {
	starts, ends, err := Bounds(ctx, cfg, topics)
	if err != nil {
		return err
	}
	from := map[string]map[int32]kgo.Offset{}
	left := map[partitionID]int64{}
	for topic, parts := range ends {
		for p, end := range parts {
			if start := starts[topic][p]; end > start {
				if from[topic] == nil {
					from[topic] = map[int32]kgo.Offset{}
				}
				from[topic][p] = kgo.NewOffset().At(start)
				left[partitionID{topic, p}] = end
			}
		}
	}
	if len(left) == 0 {
		return nil
	}
	c := cfg.withDefaults()
	cl, err := kgo.NewClient(append(append(c.connectOpts(c.Prefix+".read"), fetchOpts(c.share(1)/4, len(left))...),
		kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NoResetOffset()))...)
	if err != nil {
		return fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	var failed error
	for len(left) > 0 && failed == nil {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			id := partitionID{r.Topic, r.Partition}
			if end, ok := left[id]; !ok || failed != nil {
				return
			} else if r.Offset+1 >= end {
				delete(left, id)
			}
			if !r.Attrs.IsControl() {
				failed = each(&Message{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value})
			}
		})
	}
	return failed
}

// Seeder writes state for tasks that have never run: they restore it and begin
// with it. The hop must have one input, of as many partitions as its changelog.
type Seeder struct {
	cl    *kgo.Client
	hop   Hop
	ctx   context.Context //nolint:containedctx // of one use
	first chan error
}

// NewSeeder makes the changelog, if it is absent.
func NewSeeder(ctx context.Context, cfg Config, hop Hop) (*Seeder, error) {
	c := cfg.withDefaults()
	cl, err := kgo.NewClient(append(c.connectOpts(c.Prefix+".seed"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(int32(c.MaxRecordBytes+letterRoom)))...) //nolint:gosec // validated
	if err != nil {
		return nil, fmt.Errorf("making the client: %w", err)
	}
	if err := ensureTopics(ctx, kadm.NewClient(cl), c, []Topic{hop.Changelog}); err != nil {
		cl.Close()
		return nil, err
	}
	return &Seeder{cl: cl, hop: hop, ctx: ctx, first: make(chan error, 1)}, nil
}

// Put writes one entry of the state of the task of an input partition. It keeps
// the slices.
func (s *Seeder) Put(partition int32, key, value []byte) {
	k := append(keyPrefix(partitionID{s.hop.Inputs[0], partition}), key...)
	s.cl.Produce(s.ctx, &kgo.Record{Topic: s.hop.Changelog.Name, Partition: partition, Key: k, Value: value}, func(_ *kgo.Record, err error) {
		if err != nil {
			select {
			case s.first <- err:
			default:
			}
		}
	})
}

// Close waits until all is written, and tells whether it was.
func (s *Seeder) Close() error {
	defer s.cl.Close()
	if err := s.cl.Flush(s.ctx); err != nil {
		return fmt.Errorf("writing state: %w", err)
	}
	select {
	case err := <-s.first:
		return fmt.Errorf("writing state: %w", err)
	default:
		return nil
	}
}

// Discard deletes topics and the groups of hops; what is not there is no error.
func Discard(ctx context.Context, cfg Config, topics, hops []string) error {
	cl, err := cfg.asking()
	if err != nil {
		return fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	deleted, err := admin.DeleteTopics(ctx, topics...)
	if err != nil {
		return fmt.Errorf("deleting topics: %w", err)
	}
	for _, d := range deleted {
		if d.Err != nil && !errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("deleting topic %s: %w", d.Topic, d.Err)
		}
	}
	for _, hop := range hops {
		group := cfg.withDefaults().Prefix + "." + hop
		if _, err := admin.DeleteGroup(ctx, group); err != nil && !noGroup(err) {
			return fmt.Errorf("deleting group %s: %w", group, err)
		}
	}
	return nil
}
