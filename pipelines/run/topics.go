package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicMeta is what the engine keeps of a topic.
type topicMeta struct {
	count int32
	id    [16]byte // zero where the broker has none
}

// other says that two descriptions of one name are of two topics.
func (m topicMeta) other(now topicMeta) bool {
	return m.id != now.id && m.id != [16]byte{} && now.id != [16]byte{}
}

// ownedTopics are all topics that the hops and the engine write, each once. Two
// declarations of one topic must agree.
func ownedTopics(cfg Config, hops []Hop) ([]Topic, error) {
	var all []Topic
	add := func(t Topic, by string) error {
		if t.Name == "" || t.Partitions < 1 || (t.Cleanup != Compact && t.Cleanup != Queue) {
			return fmt.Errorf("topic %q of %s: needs a name, at least one partition and a cleanup policy", t.Name, by)
		}
		for _, have := range all {
			if have.Name == t.Name {
				if have != t {
					return fmt.Errorf("topic %q: declared twice and differently (%v, %v)", t.Name, have, t)
				}
				return nil
			}
		}
		all = append(all, t)
		return nil
	}
	for _, h := range hops {
		for _, t := range h.Outputs {
			if err := add(t, "hop "+h.Name); err != nil {
				return nil, err
			}
		}
		if h.Changelog.Cleanup != Compact {
			return nil, fmt.Errorf("topic %q: the changelog of hop %s must be compacted", h.Changelog.Name, h.Name)
		}
		if err := add(h.Changelog, "hop "+h.Name); err != nil {
			return nil, err
		}
	}
	if cfg.LetterTopic.Name != "" {
		if err := add(cfg.LetterTopic, "letters"); err != nil {
			return nil, err
		}
	}
	if cfg.Instructions.Name != "" {
		if err := add(cfg.Instructions, "instructions"); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// topicConfigs are the settings of a topic that the engine creates. Queues do
// not age: the engine deletes behind their reader, so that a reader that was
// away finds everything.
func topicConfigs(t Topic, cfg Config) map[string]*string {
	value := func(s string) *string { return &s }
	configs := map[string]*string{
		"max.message.bytes": value(strconv.Itoa(cfg.MaxRecordBytes + letterRoom)),
	}
	if t.Cleanup == Compact {
		configs["cleanup.policy"] = value("compact")
	} else {
		configs["cleanup.policy"] = value("delete")
		configs["retention.ms"] = value("-1")
		configs["retention.bytes"] = value("-1")
	}
	return configs
}

// ensureTopics creates absent topics and compares the partition counts of those
// that are there. A count is fixed for ever: with another one, keys and their
// state would part.
//
// A broker's metadata lags behind its controller: a topic may look absent and
// yet exist. So what could not be created is looked at again until it shows.
func ensureTopics(ctx context.Context, admin *kadm.Client, cfg Config, topics []Topic) error {
	for try := 0; len(topics) > 0; try++ {
		if try > 0 && !pause(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
		hidden, err := ensureVisible(ctx, admin, cfg, topics)
		if err != nil {
			return err
		}
		if len(hidden) > 0 && try == 100 {
			return fmt.Errorf("topics %v: the broker says that they exist and does not describe them; see its log", hidden)
		}
		topics = hidden
	}
	return nil
}

// ensureVisible does it once, and returns the topics that exist but do not show.
func ensureVisible(ctx context.Context, admin *kadm.Client, cfg Config, topics []Topic) (hidden []Topic, err error) {
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name
	}
	details, err := admin.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("listing topics: %w", err)
	}
	var errs []error
	for _, t := range topics {
		d, ok := details[t.Name]
		switch {
		case ok && d.Err == nil:
			if n := len(d.Partitions); n != int(t.Partitions) {
				errs = append(errs, fmt.Errorf(
					"topic %q has %d partitions, the topology says %d: the count is fixed at the first start; put the configured count back, or start under new topic names",
					t.Name, n, t.Partitions))
			}
		case ok && !errors.Is(d.Err, kerr.UnknownTopicOrPartition):
			errs = append(errs, fmt.Errorf("topic %q: %w", t.Name, d.Err))
		default:
			r, err := admin.CreateTopic(ctx, t.Partitions, cfg.Replication, topicConfigs(t, cfg), t.Name)
			switch err = errors.Join(err, r.Err); {
			case err == nil:
				cfg.Log.Info("topic created", "topic", t.Name, "partitions", t.Partitions, "cleanup", t.Cleanup)
			case errors.Is(err, kerr.TopicAlreadyExists):
				hidden = append(hidden, t)
			default:
				errs = append(errs, fmt.Errorf("creating topic %q: %w", t.Name, err))
			}
		}
	}
	return hidden, errors.Join(errs...)
}

// describeTopics says which of the topics exist.
func describeTopics(ctx context.Context, admin *kadm.Client, names []string) (map[string]topicMeta, error) {
	details, err := admin.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("listing topics: %w", err)
	}
	found := make(map[string]topicMeta, len(names))
	for name, d := range details {
		if d.Err == nil && len(d.Partitions) > 0 {
			found[name] = topicMeta{count: int32(len(d.Partitions)), id: d.ID} //nolint:gosec // a count of partitions
		}
	}
	return found, nil
}

// transactionVersion is the cluster's finalized transaction.version; 0 where
// it has none.
func transactionVersion(ctx context.Context, cl *kgo.Client) (int16, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "syncline", "1"
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return 0, fmt.Errorf("asking the broker for its versions: %w", err)
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return 0, fmt.Errorf("asking the broker for its versions: %w", err)
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" {
			return f.MaxVersionLevel, nil
		}
	}
	return 0, nil
}

// watchTopics looks for input topics that are absent, and for counts that
// change, until ctx ends.
func (h *hop) watchTopics(ctx context.Context) {
	ticker := time.NewTicker(h.cfg.TopicRefresh)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		found, err := describeTopics(ctx, h.admin, h.def.Inputs)
		if err != nil {
			if ctx.Err() == nil {
				h.log.Warn("cannot refresh topics", "error", err)
			}
			continue
		}
		if err := h.noteTopics(found); err != nil {
			h.fail(err)
			return
		}
	}
}

// noteTopics takes over what was found of the input topics: new ones are
// subscribed; one that was made anew is read anew, whose tasks then stop; one
// whose count of partitions has changed is an error.
func (h *hop) noteTopics(found map[string]topicMeta) error {
	h.mu.Lock()
	var added, remade []string
	for _, name := range h.def.Inputs {
		meta, ok := found[name]
		if !ok {
			continue
		}
		before, known := h.topics[name]
		switch {
		case !known:
			h.topics[name] = meta
			added = append(added, name)
		case before.other(meta):
			h.topics[name] = meta
			remade = append(remade, name)
		case before.count != meta.count:
			h.mu.Unlock()
			return fmt.Errorf(
				"topic %q had %d partitions and has %d now: its keys have moved between partitions, so the state of hop %s no longer fits; "+
					"put the count back, or rebuild this hop from the first offset", name, before.count, meta.count, h.def.Name)
		}
	}
	h.mu.Unlock()
	slices.Sort(added)
	slices.Sort(remade)
	if len(remade) > 0 {
		h.log.Error("input topics were deleted and created again", "topics", remade)
		h.consumer.PurgeTopicsFromConsuming(remade...) // the client never takes to a new topic by itself
		h.consumer.AddConsumeTopics(remade...)
	}
	if len(added) > 0 {
		h.log.Info("input topics subscribed", "topics", added)
		h.consumer.AddConsumeTopics(added...)
	}
	return nil
}

// purge deletes the records of internal queues that this hop, their only
// reader, has committed. It is lazy: a failure is tried again at the next turn.
func (h *hop) purge(ctx context.Context) {
	ticker := time.NewTicker(h.cfg.PurgeInterval)
	defer ticker.Stop()
	done := map[partitionID]int64{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := h.purgeOnce(ctx, done); err != nil && ctx.Err() == nil {
			h.log.Warn("cannot delete consumed records of internal queues", "error", err)
		}
	}
}

// purgeOnce leaves the last record of a partition where it is, however long it
// has been consumed: a broker that keeps offsets by its segments, as the
// embedded one does, must not lose count.
func (h *hop) purgeOnce(ctx context.Context, done map[partitionID]int64) error {
	committed := map[partitionID]int64{}
	epochs := map[partitionID]int32{}
	h.mu.Lock()
	for id, t := range h.tasks {
		// Of a topic made anew, the committed place says nothing.
		if next := t.stats.committed.Load(); h.queues[id.topic] && next > done[id]+1 && !t.meta.other(h.topics[id.topic]) && !t.stats.hasStopped() {
			committed[id], epochs[id] = next, -1
		}
	}
	h.mu.Unlock()
	if len(committed) == 0 {
		return nil
	}
	found, err := describeTopics(ctx, h.admin, h.def.Inputs)
	if err != nil {
		return err
	}
	ends, err := listBounds(ctx, h.admin, epochs)
	if err != nil {
		return err
	}
	offsets := kadm.Offsets{}
	h.mu.Lock()
	for id, next := range committed {
		b, ok := ends[id]
		if to := min(next, b.end-1); ok && to > b.start && next <= b.end && !found[id.topic].other(h.topics[id.topic]) {
			offsets.AddOffset(id.topic, id.partition, to, -1)
		}
	}
	h.mu.Unlock()
	if len(offsets) == 0 {
		return nil
	}
	results, err := h.admin.DeleteRecords(ctx, offsets)
	if err != nil {
		return err
	}
	results.Each(func(r kadm.DeleteRecordsResponse) {
		if r.Err != nil {
			h.log.Warn("cannot delete consumed records", "topic", r.Topic, "partition", r.Partition, "error", r.Err)
			return
		}
		done[partitionID{r.Topic, r.Partition}] = r.LowWatermark
	})
	return nil
}
