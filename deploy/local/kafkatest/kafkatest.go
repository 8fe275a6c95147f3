// Package kafkatest gives tests a Kafka: real Apache Kafka when the environment
// variable SYNCLINE_KAFKA is "real" (make test-kafka sets it), the in-process
// kfake otherwise. The real one is started by deploy/local/kafka.sh, the very
// script that people use by hand.
//
// kfake is synchronous: markers, offsets and the last stable offset move
// together, and nothing survives its end. What is tested about crashes of the
// broker, or about the order in which the parts of a commit become visible, is
// only tested on the real one.
//
// When SYNCLINE_KAFKA asks for the real one and it does not start, the test
// fails; it is never skipped and never falls back to kfake.
package kafkatest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

const (
	// EnvKafka names the variable that chooses the broker: "real", or "kfake"
	// or nothing for the in-process one. Anything else fails the test.
	EnvKafka = "SYNCLINE_KAFKA"
	// EnvBrokers names the variable that holds the address of a broker that
	// runs already, which Shared uses instead of starting one per test.
	EnvBrokers = "SYNCLINE_KAFKA_BROKERS"
)

// scriptTimeout bounds one run of the script: the first one may fetch the jars.
const scriptTimeout = 5 * time.Minute

// Kafka is one broker that belongs to one test. Its methods are to be called
// from the goroutine of that test.
type Kafka struct {
	script string // path of kafka.sh; empty on kfake
	dir    string
}

// Real says whether t runs against real Kafka.
func Real(t testing.TB) bool {
	t.Helper()
	switch v := os.Getenv(EnvKafka); v {
	case "real":
		return true
	case "", "kfake":
		return false
	default:
		t.Fatalf("%s is %q; it may be real or kfake", EnvKafka, v)
		return false
	}
}

// Start starts a broker for this test alone and returns its address as
// host:port, to be split at commas for kgo.SeedBrokers. It ends with the test,
// and with the test's process should that die without cleaning up. Real Kafka
// takes about 7 seconds.
func Start(t testing.TB) (brokers string, k *Kafka) {
	t.Helper()
	if !Real(t) {
		return startFake(t), &Kafka{}
	}
	k = &Kafka{script: Script(t), dir: filepath.Join(t.TempDir(), "kafka")}
	t.Cleanup(func() {
		if t.Failed() {
			k.logTail(t)
		}
		// The test's context has ended by the time of its clean-up.
		if _, err := k.run(context.WithoutCancel(t.Context()), "kill", "--purge"); err != nil {
			t.Errorf("ending Kafka: %v", err)
		}
	})
	return k.start(t, "--port", "0", "--with-parent", strconv.Itoa(os.Getpid())), k
}

// Shared returns the address of a broker that this test may share with others,
// of other processes too: name topics, groups and transactional ids so that no
// other test has them (t.Name and something random), and leave the broker
// alone. It is the broker that EnvBrokers names; where that is empty, and on
// kfake, the test gets its own.
func Shared(t testing.TB) (brokers string) {
	t.Helper()
	if Real(t) {
		if brokers = os.Getenv(EnvBrokers); brokers != "" {
			return brokers
		}
	}
	brokers, _ = Start(t)
	return brokers
}

// Real says whether this broker is real Kafka, hence whether Kill and Restart
// can be used.
func (k *Kafka) Real() bool { return k.script != "" }

// Kill ends the broker with SIGKILL and returns when it is gone. What it had
// not written out itself is in the page cache and survives, as it does when a
// process crashes and the machine does not.
func (k *Kafka) Kill(t testing.TB) {
	t.Helper()
	k.mustBeReal(t, "Kill")
	if _, err := k.run(t.Context(), "kill"); err != nil {
		t.Fatalf("killing Kafka: %v", err)
	}
}

// Restart starts the broker again on the same data and address, after stopping
// it in order if it still runs, and returns when it answers.
func (k *Kafka) Restart(t testing.TB) {
	t.Helper()
	k.mustBeReal(t, "Restart")
	if _, err := k.run(t.Context(), "restart", "--wait", startWait); err != nil {
		k.logTail(t)
		t.Fatalf("restarting Kafka: %v", err)
	}
}

func (k *Kafka) mustBeReal(t testing.TB, verb string) {
	t.Helper()
	if !k.Real() {
		t.Fatalf("%s needs real Kafka, for kfake has nothing that survives; ask Real first, and run it by make test-kafka", verb)
	}
}

func (k *Kafka) start(t testing.TB, options ...string) string {
	t.Helper()
	address, err := k.run(t.Context(), "start", append(options, "--wait", startWait)...)
	if err != nil {
		k.logTail(t)
		t.Fatalf("%s=real asks for real Kafka and it did not start: %v", EnvKafka, err)
	}
	return address
}

// startWait is for how many seconds a broker may be starting: several may be
// doing so on a busy machine.
const startWait = "150"

// run runs one verb of the script and returns its standard output; the error
// holds what it said on standard error.
func (k *Kafka) run(ctx context.Context, verb string, options ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, scriptTimeout)
	defer cancel()
	args := append([]string{k.script, verb, "--dir", k.dir}, options...)
	cmd := exec.CommandContext(ctx, "bash", args...)
	// The broker stays behind with files of its own; should anything of the
	// script's keep our pipes, waiting for them ends here.
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kafka.sh %s: %w\n%s", verb, err, stderr.String())
	}
	return strings.TrimSpace(stdout.String()), nil
}

// logTail shows the end of the broker's log: the directory goes with the test.
func (k *Kafka) logTail(t testing.TB) {
	t.Helper()
	const limit = 4 << 10
	log, err := os.ReadFile(filepath.Join(k.dir, "kafka.log"))
	if err != nil {
		return
	}
	t.Logf("end of Kafka's log:\n%s", log[max(0, len(log)-limit):])
}

func startFake(t testing.TB) string {
	t.Helper()
	// As on the real one: one broker, and a topic that nobody created is a mistake.
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatalf("starting kfake: %v", err)
	}
	t.Cleanup(cluster.Close)
	return strings.Join(cluster.ListenAddrs(), ",")
}

// Script finds deploy/local/kafka.sh from the module's root, upwards of the
// directory in which go test runs a test: its package's.
func Script(t testing.TB) string {
	t.Helper()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatalf("finding kafka.sh: %v", err)
	}
	for at := wd; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return filepath.Join(at, "deploy", "local", "kafka.sh")
		}
		if at == filepath.Dir(at) {
			t.Fatalf("finding kafka.sh: no go.mod in %s or above; run the tests in the checkout", wd)
		}
	}
}
