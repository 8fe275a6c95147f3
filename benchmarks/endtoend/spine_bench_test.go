package endtoend

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/benchmarks/workload/company"
	"syncline/pipelines/cli"
)

// spineAccounts decides the size of the benchmark's company: about 21 changes
// each.
const spineAccounts = 5000

// BenchmarkSpine measures changes per CPU-second of the pipelines' process: the
// hops alone, the hops with the ClickHouse sink, and beside them the raw loop
// of the Kafka client (poll, produce, commit in one transaction, nothing else)
// over the same topics in the same run; the raw loop twice, as a control. What a
// process uses to start and stop is measured on an empty broker and taken off.
//
//	go test ./benchmarks/endtoend -run xxx -bench Spine -benchtime 3x
func BenchmarkSpine(b *testing.B) {
	figures := map[string][]float64{}
	order := []string{"raw", "hops", "hops+sink", "raw again"}
	for b.Loop() {
		for _, name := range order {
			figures[name] = append(figures[name], measure(b, name))
		}
	}
	for _, name := range order {
		f := figures[name]
		slices.Sort(f)
		b.Logf("%-10s %8.0f changes per CPU-second (median of %d; %.0f to %.0f)", name, f[len(f)/2], len(f), f[0], f[len(f)-1])
		b.ReportMetric(f[len(f)/2], strings.ReplaceAll(name, " ", "-")+"/cpu-s")
	}
}

func measure(b *testing.B, name string) float64 {
	b.Helper()
	startup := cpuOf(b, newWorld(b, "company"), name, false)
	w := newWorld(b, "company")
	g, err := company.New(company.Config{Seed: 1, Accounts: spineAccounts, NoTruth: true})
	if err != nil {
		b.Fatal(err)
	}
	if err := g.Register(b.Context(), w.registry()); err != nil {
		b.Fatal(err)
	}
	n, err := g.Write(b.Context(), nil, w.producer(0))
	if err != nil {
		b.Fatal(err)
	}
	cpu := cpuOf(b, w, name, true)
	b.Logf("%s: %d changes, %.2f CPU-seconds, of these %.2f to start and stop", name, n, cpu.Seconds(), startup.Seconds())
	return float64(n) / (cpu - startup).Seconds()
}

// cpuOf runs a process until it has come to rest and gives its CPU time.
func cpuOf(b *testing.B, w *world, name string, loaded bool) time.Duration {
	b.Helper()
	if strings.HasPrefix(name, "raw") {
		return w.raw(loaded)
	}
	parts := "hops"
	if name == "hops+sink" {
		parts = "hops,sink"
	}
	p := w.start("--parts", parts)
	if loaded {
		p.settle()
	} else {
		p.wait("the start", time.Minute, func(cli.Progress) bool { return true })
	}
	p.term()
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// raw runs the raw loop in a process of its own.
func (w *world) raw(loaded bool) time.Duration {
	w.t.Helper()
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.CommandContext(w.t.Context(), self) //nolint:gosec // the test binary
	cmd.Env = append(os.Environ(), asCommand+"=raw", "SYNCLINE_BROKERS="+strings.Join(w.p.Brokers(), ","))
	if !loaded {
		cmd.Env = append(cmd.Env, "SYNCLINE_RAW_EMPTY=1")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("the raw loop: %v\n%s", err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// rawLoop moves every record of the source topics to one topic, exactly once,
// with the client's own transaction session and nothing else.
func rawLoop() int {
	if err := rawRun(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func rawRun(ctx context.Context) error {
	brokers := strings.Split(os.Getenv("SYNCLINE_BROKERS"), ",")
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	if _, err := admin.CreateTopic(ctx, 4, 1, nil, "raw.out"); err != nil {
		return err
	}
	listed, err := admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	var topics []string
	for _, name := range listed.Names() {
		if strings.HasPrefix(name, "cdc.") {
			topics = append(topics, name)
		}
	}
	if os.Getenv("SYNCLINE_RAW_EMPTY") != "" || len(topics) == 0 {
		return nil
	}
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return err
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(brokers...), kgo.ConsumerGroup("raw"), kgo.TransactionalID("raw"), kgo.ConsumeTopics(topics...),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.DefaultProduceTopic("raw.out"),
	)
	if err != nil {
		return err
	}
	defer session.Close()
	for left > 0 {
		fetches := session.PollRecords(ctx, 20_000)
		if err := fetches.Err0(); err != nil {
			return err
		}
		if err := session.Begin(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			session.Produce(ctx, &kgo.Record{Key: r.Key, Value: r.Value}, nil)
		})
		if committed, err := session.End(ctx, kgo.TryCommit); err != nil || !committed {
			return fmt.Errorf("committed %v: %w", committed, err)
		}
	}
	return nil
}
