package run

import (
	"context"
	"fmt"
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

// retrySetting decides how long a broker makes a producer wait that begins a
// transaction right after it has ended one (KIP-890 adds partitions on the
// server).
const retrySetting = "add.partitions.to.txn.retry.backoff.ms"

// Examine looks at a cluster and changes nothing: brokers, transaction.version,
// settings that cost latency, source topics, transactions that hang.
func Examine(ctx context.Context, cfg Config, sources []string) []Examination {
	place := "Kafka " + strings.Join(cfg.Brokers, ",")
	opts := append([]kgo.Opt{kgo.SeedBrokers(cfg.Brokers...), kgo.RequestRetries(2), kgo.RetryTimeout(5 * time.Second)}, cfg.ClientOpts...)
	cl, err := kgo.NewClient(opts...)
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
		e.Found = fmt.Sprintf("%d partitions wait for a marker that the broker has lost, first %s", len(lost), lost[0])
		e.Fix = "start the process that owns this id: it writes what was decided. Do not abort by hand what may be committed"
	}
	return e
}
