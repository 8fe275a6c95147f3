package endtoend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/benchmarks/oracle"
	"syncline/deploy/embedded"
)

// TestUpOutlivesKills kills every process of `up` at once with SIGKILL, again and
// again while it works, some times the broker alone. What was acknowledged to a
// source stays, in order; what was derived is made anew by itself, and is right.
// SYNCLINE_TEST_KILLS says how often.
func TestUpOutlivesKills(t *testing.T) {
	kills := 3
	if s := os.Getenv("SYNCLINE_TEST_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("SYNCLINE_TEST_KILLS: %v", err)
		}
		kills = n
	}
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // a seed
	if s := os.Getenv("SYNCLINE_TEST_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatalf("SYNCLINE_TEST_SEED: %v", err)
		}
	}
	t.Logf("SYNCLINE_TEST_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // a reproducible order
	dir := t.TempDir()
	source := &ledger{t: t, dir: dir, acknowledged: map[int32][]string{}}
	u := startUp(t, dir)
	u.waitSaid(isUp)
	for i := range kills {
		ctx, cancel := context.WithCancel(t.Context())
		wrote := make(chan struct{})
		go func() { defer close(wrote); source.write(ctx) }()
		load := command(t, dir, "load", "debezium-tryton", "--rate", "400")
		if err := load.Start(); err != nil {
			t.Fatal(err)
		}
		wait(t, time.Duration(500+random.IntN(4000))*time.Millisecond)
		if i%3 == 2 {
			at, err := embedded.ReadAddresses(dir)
			if err != nil {
				t.Fatal(err)
			}
			before := strings.Count(u.said(), "forgotten; the pipelines begin")
			kill(t, at.Pids[embedded.BrokerName])
			u.waitCount("forgotten; the pipelines begin", before+1)
			cancel()
			<-wrote
		} else {
			for _, pid := range tree(u.cmd.Process.Pid) {
				kill(t, pid)
			}
			<-u.ended
			cancel()
			<-wrote
			u = startUp(t, dir)
			u.waitSaid("did not end cleanly")
			u.waitSaid(isUp)
		}
		_ = load.Process.Kill()
		_ = load.Wait() // it may have lost its broker
		source.check(fmt.Sprintf("after kill %d", i+1))
	}
	if out, err := command(t, dir, "load", "debezium-tryton").CombinedOutput(); err != nil {
		t.Fatalf("load: %v\n%s", err, out)
	}
	out, _ := command(t, dir, "verify", "--recording", "debezium-tryton", "-o", "json").Output() // what it found is in the answer
	var answer struct{ Result oracle.Report }
	if err := json.Unmarshal(out, &answer); err != nil || len(answer.Result.Tallies) == 0 {
		t.Fatalf("verify: %v\n%s", err, out)
	}
	wrong := slices.DeleteFunc(answer.Result.Differences, func(d oracle.Difference) bool {
		return d.View == "feed_health" || d.View == "syncline.feeds" // they count what was loaded more than once
	})
	if len(wrong) > 0 {
		t.Errorf("%d wrong rows, the first: %v\n%s", len(wrong), wrong[0], u.said())
	}
	if err := u.end(syscall.SIGTERM, false); err != nil {
		t.Errorf("%v\n%s", err, u.said())
	}
	u = startUp(t, dir)
	u.waitSaid(isUp)
	if strings.Contains(u.said(), "did not end cleanly") {
		t.Errorf("after a clean end:\n%s", u.said())
	}
	source.check("after a clean restart")
	if err := u.end(syscall.SIGTERM, false); err != nil {
		t.Errorf("%v\n%s", err, u.said())
	}
}

func (u *upProcess) waitCount(what string, n int) {
	u.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); strings.Count(u.said(), what) < n; wait(u.t, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			u.t.Fatalf("did not say %q %d times:\n%s", what, n, u.said())
		}
	}
}

func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, append(args, "--data-dir", dir)...) //nolint:gosec // the test binary
	cmd.Env = append(os.Environ(), asCommand+"=1")
	return cmd
}

func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}

// tree gives a process and all below it, the topmost first.
func tree(root int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is a good one
	for _, name := range stats {
		raw, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// The name in parentheses may hold anything; state and parent follow it.
		text := string(raw)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], pid)
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// ledger is a source topic of its own, and what the broker has acknowledged of it.
type ledger struct {
	t            *testing.T
	dir          string
	next         int
	acknowledged map[int32][]string
}

const ledgerTopic = "cdc.ledger"

func (l *ledger) client(options ...kgo.Opt) *kgo.Client {
	l.t.Helper()
	at, err := embedded.ReadAddresses(l.dir)
	if err != nil {
		l.t.Fatal(err)
	}
	cl, err := kgo.NewClient(append(options, kgo.SeedBrokers(at.Brokers...), kgo.RecordRetries(0), kgo.RequestRetries(1))...)
	if err != nil {
		l.t.Fatal(err)
	}
	return cl
}

// write produces until ctx ends or the broker does.
func (l *ledger) write(ctx context.Context) {
	cl := l.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableIdempotentWrite(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 3, 1, nil, ledgerTopic); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return
	}
	for ; ctx.Err() == nil; l.next++ {
		p, value := int32(l.next%3), fmt.Sprintf("%d-%s", l.next, strings.Repeat("x", l.next%500)) //nolint:gosec // small
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: ledgerTopic, Partition: p, Value: []byte(value)}).FirstErr(); err != nil {
			return
		}
		l.acknowledged[p] = append(l.acknowledged[p], value)
	}
}

// check holds the topic against what was acknowledged: a record that was not may
// be there as well.
func (l *ledger) check(when string) {
	l.t.Helper()
	cl := l.client(kgo.ConsumeTopics(ledgerTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(l.t.Context(), ledgerTopic)
	if err != nil {
		l.t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	found := map[int32][]string{}
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			l.t.Fatalf("%s: reading %s: %v, %d left", when, ledgerTopic, err, left)
		}
		fetches.EachRecord(func(r *kgo.Record) { left--; found[r.Partition] = append(found[r.Partition], string(r.Value)) })
	}
	total := 0
	for p, want := range l.acknowledged {
		total += len(want)
		rest := found[p]
		for _, v := range want {
			i := slices.Index(rest, v)
			if i < 0 {
				l.t.Fatalf("%s: partition %d has lost %.20s, which was acknowledged", when, p, v)
			}
			rest = rest[i+1:]
		}
	}
	l.t.Logf("%s: %d acknowledged, all there", when, total)
}
