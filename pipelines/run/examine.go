package run

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Examination is one thing that Examine has looked at.
type Examination struct {
	Check       string
	OK, Warning bool
	Found, Fix  string
}

// Lag is how far a hop is behind its input, as the broker sees it.
type Lag struct {
	Members int   // processes that work on it
	Records int64 // not taken yet, decided ones only
}

// HopLag asks how far a hop of running processes, or of none, is behind topics.
// Absent topics count nothing. On topics written in transactions a marker at the
// very end may count as a record that is not taken.
func HopLag(ctx context.Context, cfg Config, hop string, topics []string) (Lag, error) {
	cl, err := cfg.asking()
	if err != nil {
		return Lag{}, fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	return hopLag(ctx, kadm.NewClient(cl), cfg, hop, topics)
}

// Written is how many records were ever written to topics, by topic; those of
// topics that are written in transactions count with their markers. Absent ones
// have none.
func Written(ctx context.Context, cfg Config, topics []string) (map[string]int64, error) {
	cl, err := cfg.asking()
	if err != nil {
		return nil, fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	ends, err := listed(kadm.NewClient(cl).ListEndOffsets(ctx, topics...))
	if err != nil {
		return nil, fmt.Errorf("listing ends: %w", err)
	}
	written := map[string]int64{}
	ends.Each(func(o kadm.ListedOffset) { written[o.Topic] += max(o.Offset, 0) })
	return written, nil
}

// asking is a client for questions to a cluster that may not answer.
func (c Config) asking(more ...kgo.Opt) (*kgo.Client, error) {
	opts := append(c.withDefaults().connectOpts(c.withDefaults().Prefix+".examine"), kgo.RequestRetries(2), kgo.RetryTimeout(5*time.Second))
	return kgo.NewClient(append(opts, more...)...)
}

func hopLag(ctx context.Context, admin *kadm.Client, cfg Config, hop string, topics []string) (lag Lag, err error) {
	group := cfg.withDefaults().Prefix + "." + hop
	described, err := admin.DescribeGroups(ctx, group)
	if err != nil && !noGroup(err) {
		return lag, fmt.Errorf("asking for the group %s: %w", group, err)
	}
	lag.Members = len(described[group].Members)
	taken, err := groupOffsets(ctx, admin, group)
	if err != nil {
		return lag, err
	}
	ends, err := listed(admin.ListCommittedOffsets(ctx, topics...))
	if err != nil {
		return lag, fmt.Errorf("listing ends: %w", err)
	}
	starts, err := listed(admin.ListStartOffsets(ctx, topics...))
	if err != nil {
		return lag, fmt.Errorf("listing starts: %w", err)
	}
	ends.Each(func(end kadm.ListedOffset) {
		if end.Err != nil {
			return // absent
		}
		at := int64(0)
		if start, ok := starts.Lookup(end.Topic, end.Partition); ok {
			at = start.Offset
		}
		if o, ok := taken.Lookup(end.Topic, end.Partition); ok {
			at = max(at, o.At)
		}
		lag.Records += max(end.Offset-at, 0)
	})
	return lag, nil
}

// retrySetting decides how long a broker makes a producer wait that begins a
// transaction right after it has ended one (KIP-890 adds partitions on the
// server).
const retrySetting = "add.partitions.to.txn.retry.backoff.ms"

// Examine looks at a cluster and changes nothing: brokers, transaction.version,
// settings that cost latency, source topics, transactions that hang. A single
// finding is that it cannot be reached.
func Examine(ctx context.Context, cfg Config, sources []string) []Examination {
	place := "Kafka " + strings.Join(cfg.Brokers, ",")
	cl, err := cfg.asking()
	if err != nil {
		return []Examination{{Check: place, Found: err.Error(), Fix: "correct --brokers"}}
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	brokers, err := admin.ListBrokers(ctx)
	if err != nil {
		return []Examination{{Check: place, Found: err.Error(), Fix: "start it (`syncline up`) or give --brokers"}}
	}
	out := []Examination{{Check: place, OK: true, Found: fmt.Sprintf("%d brokers", len(brokers))}}
	out = append(out, examineTransactions(ctx, cl), examineBackoff(ctx, admin, brokers))
	out = append(out, examineTopics(ctx, admin, sources)...)
	return append(out, examineHanging(ctx, admin))
}

// ExaminePositions holds the committed positions of hops against what their
// topics hold. readers are the topics by hop. A position outside of them means
// that records were lost, which stops a task as soon as it runs.
func ExaminePositions(ctx context.Context, cfg Config, readers map[string][]string) []Examination {
	cl, err := cfg.asking()
	if err != nil {
		return nil // Examine says so
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	var lost []string
	n := 0
	for _, hop := range slices.Sorted(maps.Keys(readers)) {
		found, positions, err := examineHop(ctx, admin, cfg, hop, readers[hop])
		if err != nil {
			return []Examination{{Check: "positions", Warning: true, OK: true, Found: "cannot be read: " + err.Error(), Fix: "give the account DESCRIBE on its groups and topics"}}
		}
		lost, n = append(lost, found...), n+positions
	}
	if len(lost) == 0 {
		return []Examination{{Check: "positions", OK: true, Found: fmt.Sprintf("%d, each within its partition", n)}}
	}
	var out []Examination
	for _, l := range lost[:min(len(lost), 10)] {
		out = append(out, Examination{Check: "positions", Found: l, Fix: "the command that it names; `syncline run` says the same of each task that stops"})
	}
	return out
}

func examineHop(ctx context.Context, admin *kadm.Client, cfg Config, hop string, topics []string) (lost []string, positions int, err error) {
	committed, err := groupOffsets(ctx, admin, cfg.withDefaults().Prefix+"."+hop)
	if err != nil {
		return nil, 0, err
	}
	epochs := map[partitionID]int32{}
	committed.Each(func(o kadm.OffsetResponse) {
		if slices.Contains(topics, o.Topic) && o.At >= 0 {
			epochs[partitionID{o.Topic, o.Partition}] = o.LeaderEpoch
		}
	})
	if len(epochs) == 0 {
		return nil, 0, nil
	}
	all, err := listBounds(ctx, admin, epochs)
	if err != nil {
		return nil, 0, err
	}
	for id := range epochs {
		b, there := all[id]
		o, _ := committed.Lookup(id.topic, id.partition)
		if l := b.against(id, o.At); there && l != nil {
			l.goOn = max(l.goOn, l.start)
			l.remedy = "Go on with " + skipCommand(id, l.goOn)
			lost = append(lost, hop+" "+l.Error())
		}
	}
	slices.Sort(lost)
	return lost, len(epochs), nil
}

func examineTransactions(ctx context.Context, cl *kgo.Client) Examination {
	e := Examination{Check: "transaction.version"}
	v, err := transactionVersion(ctx, cl)
	switch {
	case err != nil:
		e.Found, e.Fix = err.Error(), "give the account DESCRIBE on the cluster"
	case v < 2:
		e.Found, e.Fix = fmt.Sprintf("%d: a delayed request can end a later transaction (KAFKA-17754)", v), "upgrade to Kafka 4.0 or later, then kafka-features.sh upgrade --feature transaction.version=2"
	default:
		e.OK, e.Found = true, fmt.Sprint(v)
	}
	return e
}

func examineBackoff(ctx context.Context, admin *kadm.Client, brokers kadm.BrokerDetails) Examination {
	e := Examination{Check: retrySetting, OK: true}
	configs, err := admin.DescribeBrokerConfigs(ctx, brokers.NodeIDs()...)
	if err != nil {
		e.Warning, e.Found = true, "cannot be read: "+err.Error()
		return e
	}
	for _, c := range configs {
		for _, kv := range c.Configs {
			if kv.Key != retrySetting {
				continue
			}
			e.Found = kv.MaybeValue() + " ms"
			if kv.MaybeValue() != "1" {
				e.Warning, e.Fix = true, "set it to 1 on every broker: at 20, the default, a commit takes 5 to 8 times as long"
			}
			return e
		}
	}
	e.Found = "this broker has no such setting"
	return e
}

func examineTopics(ctx context.Context, admin *kadm.Client, sources []string) []Examination {
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return []Examination{{Check: "topics", Found: err.Error(), Fix: "give the account DESCRIBE on the topics"}}
	}
	var absent []string
	for _, s := range sources {
		if !topics.Has(s) {
			absent = append(absent, s)
		}
	}
	slices.Sort(absent)
	e := Examination{Check: "source topics", OK: true, Found: fmt.Sprintf("%d of %d", len(sources)-len(absent), len(sources))}
	if len(absent) > 0 {
		e.Warning, e.Found = true, e.Found+"; absent: "+strings.Join(absent[:min(len(absent), 5)], ", ")
		e.Fix = "a table without a row has no topic; otherwise check the connector's table list"
	}
	return []Examination{e}
}

// examineHanging looks for transactions that have been open for long, and for
// partitions that wait for a marker which their coordinator believes written:
// one of either keeps every reader of its topics from going on.
func examineHanging(ctx context.Context, admin *kadm.Client) Examination {
	e := Examination{Check: "open transactions", OK: true, Found: "none hangs"}
	unknown := func(err error) Examination {
		e.Warning, e.Found, e.Fix = true, "cannot be read: "+err.Error(), "give the account DESCRIBE on transactional ids and READ on topics"
		return e
	}
	listed, err := admin.ListTransactions(ctx, nil, nil)
	if err != nil {
		return unknown(err)
	}
	ids := listed.TransactionalIDs()
	if len(ids) == 0 {
		return e
	}
	described, err := admin.DescribeTransactions(ctx, ids...)
	if err != nil {
		return unknown(err)
	}
	for _, d := range described.Sorted() {
		started := time.UnixMilli(d.StartTimestamp)
		if age := time.Since(started); d.State == "Ongoing" && d.StartTimestamp > 0 && age > time.Minute {
			e.Warning = true
			e.Found = fmt.Sprintf("%s has been open for %s", d.TxnID, age.Round(time.Second))
			e.Fix = "end its producer, or abort it: kafka-transactions.sh abort"
			return e
		}
	}
	topics, err := admin.ListTopicsWithInternal(ctx)
	if err != nil {
		return unknown(err)
	}
	lost, _, err := lostMarkers(ctx, admin, ids, topics.Names())
	if err != nil {
		return unknown(err)
	}
	if len(lost) > 0 {
		e.Warning = true
		e.Found = fmt.Sprintf("partitions that wait for a marker which the broker has lost: %d, first %s", len(lost), lost[0])
		e.Fix = "start the process that owns this id: it writes what was decided. Do not abort by hand what may be committed"
	}
	return e
}
