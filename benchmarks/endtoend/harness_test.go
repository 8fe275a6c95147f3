// Package endtoend runs the command's own processes against a broker, a
// registry and a ClickHouse engine of their own, breaks them, and holds what is
// left against the truth. With SYNCLINE_KAFKA=real the broker is Apache Kafka.
package endtoend

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"syncline/benchmarks/oracle"
	"syncline/benchmarks/workload"
	"syncline/benchmarks/workload/company"
	"syncline/deploy/embedded"
	"syncline/deploy/local/kafkatest"
	flows "syncline/pipelines"
	"syncline/pipelines/cli"
	"syncline/schemas/registry"
)

// asCommand in the environment makes the test binary the command.
const asCommand = "SYNCLINE_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	os.Exit(embedded.Main(func() int {
		switch os.Getenv(asCommand) {
		case "":
			// They wait more than they work: four at a time, unless -parallel says.
			if !slices.ContainsFunc(os.Args, func(a string) bool { return strings.Contains(a, "test.parallel") }) {
				if err := flag.Set("test.parallel", "4"); err != nil {
					panic(err)
				}
			}
			return m.Run()
		case "raw":
			return rawLoop()
		}
		ctx, stop := signal.NotifyContext(context.Background(), embedded.EndSignals()...)
		defer stop()
		return cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	}))
}

// world is a platform with pipelines that can be stopped and killed.
type world struct {
	t        testing.TB
	kafka    *kafkatest.Kafka // nil on the embedded broker
	p        *embedded.Platform
	dir      string
	catalog  string
	names    flows.Names // of the set of pipelines that is checked
	database string
	random   *rand.Rand
	// Where the pipelines find registry and ClickHouse, if not where they are.
	registryURL, engineAddr string
}

func newWorld(t testing.TB, catalogName string) *world {
	t.Helper()
	if !kafkatest.Real(t) {
		return newWorldOn(t, catalogName, nil)
	}
	brokers, kafka := kafkatest.Start(t)
	w := newWorldOn(t, catalogName, strings.Split(brokers, ","))
	w.kafka = kafka
	return w
}

// newWorldOn runs on these brokers, or on an embedded one where there are none.
func newWorldOn(t testing.TB, catalogName string, brokers []string) *world {
	t.Helper()
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // a seed
	if s := os.Getenv("SYNCLINE_TEST_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatalf("SYNCLINE_TEST_SEED: %v", err)
		}
	}
	t.Logf("SYNCLINE_TEST_SEED=%d", seed)
	w := &world{t: t, dir: t.TempDir(), catalog: catalogName, names: flows.DefaultNames(), database: "syncline", random: rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // a reproducible order
	var err error
	if w.p, err = embedded.Start(t.Context(), embedded.Options{Dir: w.dir, Progress: testLog{t}, Brokers: brokers}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.p.Stop(context.Background()); err != nil { //nolint:usetesting // the test's context has ended
			t.Errorf("stopping the platform: %v", err)
		}
	})
	return w
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

func (w *world) environ() []string {
	credentials, _ := w.p.Credentials() // with CLICKHOUSE_ADDR there are none
	return append(os.Environ(), asCommand+"=1",
		"SYNCLINE_CLICKHOUSE_USER="+credentials.Writer.Name, "SYNCLINE_CLICKHOUSE_PASSWORD="+credentials.Writer.Password,
		"SYNCLINE_BROKERS="+strings.Join(w.p.Brokers(), ","), "SYNCLINE_REGISTRY_URL="+cmp.Or(w.registryURL, w.p.RegistryURL()),
		"SYNCLINE_CLICKHOUSE="+cmp.Or(w.engineAddr, w.p.ClickHouseAddr()), "SYNCLINE_CATALOG="+w.catalog, "SYNCLINE_COMPRESSION=none",
		"SYNCLINE_PURGE_INTERVAL=200ms",
	)
}

// command runs one command to its end.
func (w *world) command(args ...string) (stdout, stderr string, exit int) {
	w.t.Helper()
	return w.run(w.environ(), args...)
}

// run is command with an environment of its own.
func (w *world) run(environ []string, args ...string) (stdout, stderr string, exit int) {
	w.t.Helper()
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, args...) //nolint:gosec // the test binary
	cmd.Env = environ
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		w.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// pipelines is one process of them.
type pipelines struct {
	w    *world
	cmd  *exec.Cmd
	done chan struct{}
	err  error

	mu      sync.Mutex
	last    cli.Progress
	reports int
	errs    strings.Builder
}

func (w *world) start(args ...string) *pipelines {
	w.t.Helper()
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	return w.startAs(self, args...)
}

// startAs starts pipelines of a binary: the test's own, or another commit's.
func (w *world) startAs(binary string, args ...string) *pipelines {
	w.t.Helper()
	p := &pipelines{w: w, cmd: exec.Command(binary, append([]string{"run", "--report"}, args...)...), done: make(chan struct{})} //nolint:gosec // stopped below
	p.cmd.Env = w.environ()
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	errs, err := p.cmd.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.reportsFrom(out) })
	readers.Go(func() { p.keep(errs) })
	go func() {
		readers.Wait()
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	w.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if w.t.Failed() {
			p.mu.Lock()
			w.t.Logf("pipelines said:\n%s", tail(p.errs.String(), 6000))
			p.mu.Unlock()
		}
	})
	return p
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func (p *pipelines) reportsFrom(r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var report cli.Progress
		if json.Unmarshal(lines.Bytes(), &report) == nil {
			p.mu.Lock()
			p.last, p.reports = report, p.reports+1
			p.mu.Unlock()
		}
	}
}

func (p *pipelines) keep(r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		p.mu.Lock()
		p.errs.WriteString(lines.Text() + "\n")
		p.mu.Unlock()
	}
}

func (p *pipelines) report() (cli.Progress, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last, p.reports
}

// wait polls a condition of the reports.
func (p *pipelines) wait(what string, timeout time.Duration, ok func(cli.Progress) bool) {
	p.w.t.Helper()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		last, n := p.report()
		if n > 0 && ok(last) {
			return
		}
		select {
		case <-tick.C:
		case <-p.done:
			p.w.t.Fatalf("waiting for %s: the pipelines have ended: %v", what, p.err)
		case <-deadline.C:
			p.w.t.Fatalf("waiting for %s: %+v after %s", what, last, timeout)
		}
	}
}

// settle waits until everything written before the call has gone through.
func (p *pipelines) settle() {
	p.w.t.Helper()
	_, start := p.report()
	calm, seen := 0, start
	var before cli.Progress
	p.wait("rest", 4*time.Minute, func(now cli.Progress) bool {
		_, n := p.report()
		if n < start+2 || n == seen {
			return false
		}
		seen = n
		if now.Behind == 0 && now.Rows == before.Rows {
			calm++
		} else {
			calm = 0
		}
		before = now
		return calm >= 2
	})
}

// term asks the process to drain.
func (p *pipelines) term() {
	p.w.t.Helper()
	p.end(syscall.SIGTERM)
}

// end asks the process to drain by a signal, and holds it to the promise of ten
// seconds and exit 0.
func (p *pipelines) end(how syscall.Signal) {
	p.w.t.Helper()
	start := time.Now()
	if err := p.cmd.Process.Signal(how); err != nil {
		p.w.t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		p.signal(syscall.SIGQUIT) // it tells where it is
		<-p.done
		p.w.t.Fatalf("%s: still running after 15 s", how)
	}
	if took := time.Since(start); p.err != nil || took > 10*time.Second {
		p.w.t.Errorf("%s: %v after %s", how, p.err, took)
	}
}

func (p *pipelines) signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil {
		p.w.t.Errorf("%s: %v", s, err)
	}
}

func (p *pipelines) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (w *world) registry() *registry.Remote {
	w.t.Helper()
	r, err := registry.NewClient(registry.ClientConfig{URL: w.p.RegistryURL()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(r.Close)
	return r
}

func (w *world) producer(rate float64) *workload.Kafka {
	w.t.Helper()
	k, err := workload.NewKafka(workload.KafkaOptions{Brokers: w.p.Brokers(), Rate: rate})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(k.Close)
	return k
}

const recordings = "../workload/recorded/"

// load writes a recording at a rate; 0 has no limit.
func (w *world) load(name string, rate float64) {
	w.t.Helper()
	rec, err := workload.Open(recordings + name)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := rec.Load(w.t.Context(), w.registry(), w.producer(rate), workload.LoadOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// play writes the simulated company and returns its truth. It ends early when
// until, if there is one, is done.
func (w *world) play(c company.Config, rate float64, until context.Context) oracle.Expected { //nolint:revive // the company's business, not this call, ends with it
	w.t.Helper()
	return w.playTo(c, w.producer(rate), until)
}

func (w *world) playTo(c company.Config, to workload.Producer, until context.Context) oracle.Expected { //nolint:revive // as in play
	w.t.Helper()
	g, err := company.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := g.Register(w.t.Context(), w.registry()); err != nil {
		w.t.Fatal(err)
	}
	if _, err := g.Write(w.t.Context(), until, to); err != nil {
		w.t.Fatal(err)
	}
	truth, err := g.Truth()
	if err != nil {
		w.t.Fatal(err)
	}
	expected, err := oracle.ExpectWorkload(truth)
	if err != nil {
		w.t.Fatal(err)
	}
	return expected
}

func (w *world) clickhouse() driver.Conn {
	w.t.Helper()
	credentials, _ := w.p.Credentials()
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr: []string{w.p.ClickHouseAddr()}, Protocol: clickhouse.HTTP,
		Auth: clickhouse.Auth{Username: credentials.Writer.Name, Password: credentials.Writer.Password},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

func (w *world) expectRecorded(name string) oracle.Expected {
	w.t.Helper()
	e, err := oracle.ExpectRecorded(w.t.Context(), w.clickhouse(), recordings+name, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// check holds topics and views against the truth, but for the views left out,
// and the raw tables against rows that are there twice.
func (w *world) check(expected oracle.Expected, leaveOut ...string) {
	w.t.Helper()
	conn := w.clickhouse()
	views, err := oracle.CompareViews(w.t.Context(), conn, w.database, expected)
	if err != nil {
		w.t.Fatal(err)
	}
	topics, err := oracle.CompareTopics(w.t.Context(), w.p.Brokers(), w.p.RegistryURL(), w.names.Record, expected)
	if err != nil {
		w.t.Fatal(err)
	}
	views.Differences = slices.DeleteFunc(views.Differences, func(d oracle.Difference) bool { return slices.Contains(leaveOut, d.View) })
	if r := views.Join(topics); !r.OK() {
		var b strings.Builder
		_ = r.Print(&b, 20)
		w.t.Fatalf("%d differences:\n%s", len(r.Differences), b.String())
	}
	for _, table := range []string{"canonical_deal", "canonical_invoice", "canonical_payment", "canonical_account"} {
		var rows, keys uint64
		q := "SELECT count(), uniqExact(entity_id, account_id) FROM " + w.database + "." + table + " FINAL" //nolint:gosec // our own names
		if err := conn.QueryRow(w.t.Context(), q).Scan(&rows, &keys); err != nil {
			w.t.Fatal(err)
		}
		if rows != keys {
			w.t.Errorf("%s: %d rows of %d entities", table, rows, keys)
		}
	}
}
