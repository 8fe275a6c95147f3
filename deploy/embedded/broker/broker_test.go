package broker_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/deploy/embedded/broker"
)

func start(t *testing.T, dir string, port int) *broker.Broker {
	t.Helper()
	b, err := broker.Start(broker.Config{Dir: dir, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Stop() })
	return b
}

func client(t *testing.T, addr string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestRestartKeepsTopicsOffsetsAndTransactions(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	first := start(t, dir, 0)
	_, portText, err := net.SplitHostPort(first.Addr())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		t.Fatal(err)
	}
	producer := client(t, first.Addr(), kgo.TransactionalID("tx"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	admin := kadm.NewClient(producer)
	if _, err := admin.CreateTopic(ctx, -1, 1, map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}, "kept"); err != nil {
		t.Fatal(err)
	}
	for _, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		if err := producer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		record := &kgo.Record{Topic: "kept", Partition: 1, Key: []byte("k"), Value: []byte("committed " + strconv.FormatBool(bool(commit)))}
		if err := producer.ProduceSync(ctx, record).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := producer.EndTransaction(ctx, commit); err != nil {
			t.Fatal(err)
		}
	}
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: "kept", Partition: 1, At: 1, LeaderEpoch: -1})
	if err := admin.CommitAllOffsets(ctx, "group", offsets); err != nil {
		t.Fatal(err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}

	second := start(t, dir, port)
	if second.Addr() != first.Addr() {
		t.Errorf("address moved from %s to %s", first.Addr(), second.Addr())
	}
	if !second.Unclean().IsZero() {
		t.Error("a clean restart is taken for an unclean one")
	}
	reader := client(t, second.Addr(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"kept": {1: kgo.NewOffset().AtStart()}}), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	admin = kadm.NewClient(reader)
	topics, err := admin.ListTopics(ctx, "kept")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(topics["kept"].Partitions); n != 4 {
		t.Errorf("the topic has %d partitions, want the default 4", n)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, "kept")
	if err != nil {
		t.Fatal(err)
	}
	policy := ""
	for _, c := range configs[0].Configs {
		if c.Key == "cleanup.policy" {
			policy = c.MaybeValue()
		}
	}
	if policy != "compact" {
		t.Errorf("cleanup.policy is %q after the restart", policy)
	}
	committed, err := admin.FetchOffsets(ctx, "group")
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := committed.Lookup("kept", 1); !ok || o.At != 1 {
		t.Errorf("the group's offset is %+v, %t", o.Offset, ok)
	}
	var values []string
	reader.PollFetches(ctx).EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	if diff := cmp.Diff([]string{"committed true"}, values); diff != "" {
		t.Errorf("committed records differ (-want +got):\n%s", diff)
	}
}

// A client makes a topic by using it only if it says so, as Java clients do.
func TestTopicsAreMadeByAskingOnlyIfSaid(t *testing.T) {
	b := start(t, t.TempDir(), 0)
	c := client(t, b.Addr(), kgo.UnknownTopicRetries(0))
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "absent", Value: []byte("x")}).FirstErr(); err == nil {
		t.Error("producing to an absent topic made it")
	}
	c = client(t, b.Addr(), kgo.AllowAutoTopicCreation())
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "asked", Value: []byte("x")}).FirstErr(); err != nil {
		t.Error(err)
	}
}

// What the broker answers is what Java clients can read, and says that records are
// kept for ever. The Java side of it is in the live test.
func TestAnswersForJava(t *testing.T) {
	ctx := t.Context()
	c := client(t, start(t, t.TempDir(), 0).Addr())
	admin := kadm.NewClient(c)
	versions, err := admin.ApiVersions(ctx)
	if err != nil {
		t.Fatal(err)
	}
	offered := versions[0]
	if highest, ok := offered.KeyMaxVersion(19); !ok || highest > 4 {
		t.Errorf("CreateTopics goes to version %d, %t: its settings would be answered without a source", highest, ok)
	}
	if _, ok := offered.KeyMaxVersion(75); ok {
		t.Error("DescribeTopicPartitions is offered: its lists of replicas would be null")
	}
	given := "60000"
	if _, err := admin.CreateTopic(ctx, 1, 1, nil, "plain"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopic(ctx, 1, 1, map[string]*string{"retention.ms": &given}, "given"); err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]string{"plain": "-1", "given": given} {
		configs, err := admin.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range configs[0].Configs {
			if c.Key == "retention.ms" && c.MaybeValue() != want {
				t.Errorf("%s is kept for %s, want %s", topic, c.MaybeValue(), want)
			}
		}
	}
}

func TestUncleanEndIsNotedUntilSettled(t *testing.T) {
	dir := t.TempDir()
	if err := start(t, dir, 0).Stop(); err != nil {
		t.Fatal(err)
	}
	// A broker that was killed leaves its mark.
	if err := os.WriteFile(filepath.Join(dir, "running"), []byte(`{"since":"2026-01-01T00:00:00Z"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a clean run in between does not settle it
		b := start(t, dir, 0)
		if b.Unclean().IsZero() {
			t.Fatal("an unclean end was not noticed")
		}
		if err := b.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if err := broker.Accept(dir); err != nil {
		t.Fatal(err)
	}
	b := start(t, dir, 0)
	if !b.Unclean().IsZero() {
		t.Error("an accepted unclean end is still reported")
	}
	if _, err := kadm.NewClient(client(t, b.Addr())).CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := broker.Wipe(dir); err != nil {
		t.Fatal(err)
	}
	b = start(t, dir, 0)
	if topics, err := kadm.NewClient(client(t, b.Addr())).ListTopics(t.Context()); err != nil || len(topics) != 0 {
		t.Errorf("after Wipe there are topics %v, %v", topics.Names(), err)
	}
}

// Compacted topics are compacted at start, and what is there is what was there.
func TestRestartCompacts(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	first := start(t, dir, 0)
	producer := client(t, first.Addr())
	if _, err := kadm.NewClient(producer).CreateTopic(ctx, 1, 1, map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}, "log"); err != nil {
		t.Fatal(err)
	}
	for _, pair := range []string{"a1", "b1", "a2", "c1", "b2", "a3", "d1"} {
		if err := producer.ProduceSync(ctx, &kgo.Record{Topic: "log", Key: []byte(pair[:1]), Value: []byte(pair[1:])}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	producer.Close()
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	second := start(t, dir, 0)
	reader := client(t, second.Addr(), kgo.ConsumeTopics("log"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var got []string
	for len(got) == 0 || got[len(got)-1] != "d1" {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Key)+string(r.Value)) })
	}
	if diff := cmp.Diff([]string{"c1", "b2", "a3", "d1"}, got); diff != "" {
		t.Errorf("after a restart (-want +got)\n%s", diff)
	}
}

// A partition whose records were all deleted must not begin at 0 again: who has
// read it would miss everything below its position.
func TestEmptiedPartitionsKeepTheirOffsets(t *testing.T) {
	for name, to := range map[string]int64{"to the end": 3, "to the end, whichever it is": -1} {
		t.Run(name, func(t *testing.T) {
			ctx, dir := t.Context(), t.TempDir()
			b := start(t, dir, 0)
			produce := func(b *broker.Broker, values ...string) {
				t.Helper()
				c := client(t, b.Addr())
				for _, v := range values {
					if err := c.ProduceSync(ctx, &kgo.Record{Topic: "queue", Value: []byte(v)}).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
				c.Close()
			}
			admin := kadm.NewClient(client(t, b.Addr()))
			if _, err := admin.CreateTopic(ctx, 1, 1, nil, "queue"); err != nil {
				t.Fatal(err)
			}
			produce(b, "a", "b", "c")
			offsets := kadm.Offsets{}
			offsets.AddOffset("queue", 0, to, -1)
			deleted, err := admin.DeleteRecords(ctx, offsets)
			if err == nil {
				err = deleted.Error()
			}
			if low, _ := deleted.Lookup("queue", 0); err != nil || low.LowWatermark != 2 {
				t.Fatalf("deleted up to %d, want 2, so that one batch stays: %v", low.LowWatermark, err)
			}
			for range 2 {
				if err := b.Stop(); err != nil {
					t.Fatal(err)
				}
				b = start(t, dir, 0)
			}
			produce(b, "d")
			admin = kadm.NewClient(client(t, b.Addr()))
			starts, err := admin.ListStartOffsets(ctx, "queue")
			ends, err2 := admin.ListEndOffsets(ctx, "queue")
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			from, _ := starts.Lookup("queue", 0)
			until, _ := ends.Lookup("queue", 0)
			if from.Offset != 2 || until.Offset != 4 {
				t.Errorf("after restarts and one more record the partition holds %d to %d, want 2 to 4", from.Offset, until.Offset)
			}
		})
	}
}
