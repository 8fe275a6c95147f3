package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func client(t *testing.T, brokers string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(strings.Split(brokers, ",")...)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func createTopic(t *testing.T, brokers, topic string) {
	t.Helper()
	if _, err := kadm.NewClient(client(t, brokers)).CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
		t.Fatalf("creating topic %s: %v", topic, err)
	}
}

// write puts values into topic in one transaction and ends it as told.
func write(t *testing.T, producer *kgo.Client, topic string, end kgo.TransactionEndTry, values ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := producer.BeginTransaction(); err != nil {
		t.Fatalf("beginning a transaction: %v", err)
	}
	for _, v := range values {
		if err := producer.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatalf("producing %s: %v", v, err)
		}
	}
	if err := producer.EndTransaction(ctx, end); err != nil {
		t.Fatalf("ending the transaction: %v", err)
	}
}

// read returns the committed values of topic, from its start up to want of them.
func read(t *testing.T, brokers, topic string, want int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c := client(t, brokers, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var got []string
	for len(got) < want {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("reading %s after %d of %d values: %v", topic, len(got), want, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	return got
}

func TestTransactionsAreCommittedOrLeaveNoTrace(t *testing.T) {
	t.Parallel()
	brokers := Shared(t)
	topic := fmt.Sprintf("kafkatest-%d", time.Now().UnixNano())
	createTopic(t, brokers, topic)
	producer := client(t, brokers, kgo.TransactionalID(topic))

	write(t, producer, topic, kgo.TryCommit, "a", "b")
	write(t, producer, topic, kgo.TryAbort, "never")
	write(t, producer, topic, kgo.TryCommit, "c")

	if diff := cmp.Diff([]string{"a", "b", "c"}, read(t, brokers, topic, 3)); diff != "" {
		t.Errorf("committed values (-want +got):\n%s", diff)
	}
}

// A crash of the broker loses nothing that was committed, shows nothing that
// was not, and lets the producer's successor write on.
func TestCommittedRecordsOutliveTheBroker(t *testing.T) {
	t.Parallel()
	if !Real(t) {
		t.Skip("kfake has nothing that survives; make test-kafka runs this one")
	}
	brokers, k := Start(t)
	createTopic(t, brokers, "survivors")
	before := client(t, brokers, kgo.TransactionalID("writer"), kgo.TransactionTimeout(10*time.Second))
	write(t, before, "survivors", kgo.TryCommit, "a", "b")
	// This one is open when the broker dies.
	if err := before.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := before.ProduceSync(t.Context(), &kgo.Record{Topic: "survivors", Value: []byte("open")}).FirstErr(); err != nil {
		t.Fatal(err)
	}

	k.Kill(t)
	if conn, err := net.DialTimeout("tcp", brokers, time.Second); err == nil {
		conn.Close()
		t.Fatalf("after Kill something still accepts connections at %s", brokers)
	}
	k.Restart(t)

	// Its InitProducerID fences the first one and aborts what that left open.
	after := client(t, brokers, kgo.TransactionalID("writer"))
	write(t, after, "survivors", kgo.TryCommit, "c")
	if diff := cmp.Diff([]string{"a", "b", "c"}, read(t, brokers, "survivors", 3)); diff != "" {
		t.Errorf("committed values after the crash (-want +got):\n%s", diff)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := before.EndTransaction(ctx, kgo.TryCommit)
	if !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) {
		t.Errorf("the fenced producer's commit gave %v, want PRODUCER_FENCED or INVALID_PRODUCER_EPOCH", err)
	}
}

// The settings that the project's figures rest on are the broker's own answer,
// not what the script believes it wrote.
func TestRealBrokerHasTheSettings(t *testing.T) {
	t.Parallel()
	if !Real(t) {
		t.Skip("kfake has no such settings; make test-kafka runs this one")
	}
	c := client(t, Shared(t))
	features, err := kmsg.NewPtrApiVersionsRequest().RequestWith(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	level := int16(-1)
	for _, f := range features.FinalizedFeatures {
		if f.Name == "transaction.version" {
			level = f.MaxVersionLevel
		}
	}
	if level != 2 {
		t.Errorf("finalized transaction.version = %d, want 2", level)
	}
	configs, err := kadm.NewClient(c).DescribeBrokerConfigs(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"add.partitions.to.txn.retry.backoff.ms": "1", "group.initial.rebalance.delay.ms": "0", "auto.create.topics.enable": "false"}
	got := map[string]string{}
	for _, c := range configs[0].Configs {
		if _, ok := want[c.Key]; ok {
			got[c.Key] = c.MaybeValue()
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("broker settings (-want +got):\n%s", diff)
	}
}

// What make test-kafka promises: asked for the real one, a test turns red when
// it cannot be had. Run in a process of its own, whose PATH has no Java.
func TestMissingJavaFailsInsteadOfSkipping(t *testing.T) {
	t.Parallel()
	const child = "KAFKATEST_CHILD"
	if os.Getenv(child) != "" {
		Start(t)
		return
	}
	// Just the tools the script needs to find out what is missing.
	bin := t.TempDir()
	for _, tool := range []string{"bash", "dirname", "id", "mkdir", "sed", "cat", "rm", "tail"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), child+"=1", EnvKafka+"=real", EnvBrokers+"=", "PATH="+bin)
	out, err := cmd.CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); !failed {
		t.Fatalf("the child ended with %v, want a failure; it said:\n%s", err, out)
	}
	for _, part := range []string{"--- FAIL", "java is missing", "openjdk-17"} {
		if !strings.Contains(string(out), part) {
			t.Errorf("the child's output lacks %q:\n%s", part, out)
		}
	}
}
