package endtoend

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"syncline/benchmarks/oracle"
	"syncline/benchmarks/workload"
	"syncline/benchmarks/workload/company"
	"syncline/deploy/embedded"
	"syncline/deploy/local/kafkatest"
	"syncline/pipelines/cli"
	"syncline/schemas/registry"
)

// outage is how long something is down: 10 s, or a minute with SYNCLINE_LONG=1.
func outage() time.Duration {
	if os.Getenv("SYNCLINE_LONG") != "" {
		return time.Minute
	}
	return 10 * time.Second
}

// TestOutages takes away the registry, ClickHouse and the broker, one after the
// other, in the middle of a feed.
func TestOutages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "company")
	ctx := t.Context()
	// The registry is down at start: the pipelines wait, and go on when it comes.
	if err := w.p.Down(ctx, embedded.RegistryName); err != nil {
		t.Fatal(err)
	}
	p := w.start()
	waiting := time.NewTimer(3 * time.Second)
	<-waiting.C
	select {
	case <-p.done:
		t.Fatalf("the pipelines ended without a registry: %v", p.err)
	default:
	}
	if err := w.p.Up(ctx, embedded.RegistryName); err != nil {
		t.Fatal(err)
	}

	// The company goes on until all has been taken away and given back.
	rate := 400.0
	until, enough := context.WithCancel(ctx)
	defer enough()
	played := make(chan struct{})
	var expected oracle.Expected
	go func() {
		defer close(played)
		expected = w.play(company.Config{Seed: 11, Accounts: 5000, History: -1}, rate, until)
	}()
	p.wait("the first rows", time.Minute, func(now cli.Progress) bool { return now.Rows > 0 })

	// ClickHouse is killed: it comes back by itself. Then it is down for a while:
	// canonical topics keep flowing, memory stays bounded.
	if err := w.p.Kill(embedded.EngineName); err != nil {
		t.Fatal(err)
	}
	if err := w.p.Down(ctx, embedded.EngineName); err != nil {
		t.Fatal(err)
	}
	before, records := w.canonicalRecords(), p.last.Records
	down := time.NewTimer(outage())
	<-down.C
	if after := w.canonicalRecords(); after <= before {
		t.Errorf("no canonical record came while ClickHouse was down (%d, %d source records since)", after, p.last.Records-records)
	}
	if rss := residentBytes(t, p.cmd.Process.Pid); rss > 1<<30 {
		t.Errorf("%d MB resident while ClickHouse was down", rss>>20)
	}
	// The registry goes too: known ids are remembered.
	if err := w.p.Down(ctx, embedded.RegistryName); err != nil {
		t.Fatal(err)
	}
	if err := w.p.Up(ctx, embedded.EngineName); err != nil {
		t.Fatal(err)
	}
	if !kafkatest.Real(t) {
		if err := w.p.Restart(ctx, embedded.BrokerName); err != nil {
			t.Fatal(err)
		}
	} else {
		w.kafka.Kill(t)
		w.kafka.Restart(t)
	}
	if err := w.p.Up(ctx, embedded.RegistryName); err != nil {
		t.Fatal(err)
	}
	enough()
	<-played
	if expected == nil {
		t.Fatal("the company was not written")
	}
	p.settle()
	if kafkatest.Real(t) {
		// A broker that is killed may forget that it had a batch of the source's
		// producer, and takes it again: the feed itself has records twice, which
		// feed_health rightly counts and nothing else shows.
		w.check(expected, "feed_health")
	} else {
		w.check(expected)
	}
	p.term()
}

func residentBytes(t testing.TB, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// TestBadInput sends records that cannot be taken, beside good ones.
func TestBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "tryton")
	w.load("debezium-tryton", 0)
	p := w.start()
	p.settle()
	const topic = "cdc.crm.public.party_party"
	good := w.lastRecord(topic)
	other, err := w.registry().Register(t.Context(), "other", `{"type":"record","name":"Other","fields":[{"name":"a","type":"string"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	to := w.producer(0)
	send := func(value []byte) {
		r := good
		r.Value = value
		if err := to.Produce(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	send([]byte("poison"))
	send(good.Value[:len(good.Value)-9])
	send(append(good.Value[:len(good.Value):len(good.Value)], make([]byte, 1<<20)...))
	send(registry.Frame(other, []byte{2, 'x'}))
	if err := to.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.settle()
	out, _, exit := w.command("query", "SELECT reason, count() AS n, any(topic) AS topic FROM letters GROUP BY reason ORDER BY reason", "-o", "json")
	if exit != 0 {
		t.Fatal(out)
	}
	var answer struct {
		Result []map[string]string
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range answer.Result {
		got = append(got, r["reason"]+"="+r["n"])
	}
	if want := "record.avro=1 record.frame=1 source.envelope=1 source.record_too_large=1"; strings.Join(got, " ") != want {
		t.Errorf("letters: %v, want %s", got, want)
	}

	// An unknown schema id holds its partition, and only that, until it appears.
	const next = 100_000
	send(registry.Frame(next, good.Value[registry.FrameSize:]))
	if err := to.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.wait("the record with the unknown id", time.Minute, func(now cli.Progress) bool {
		return len(now.Waiting) == 1 && strings.Contains(now.Waiting[0], "record.unknown_schema")
	})
	// Freshness on the other partitions meanwhile: one record, seen within 2 s.
	for range 3 {
		w.freshness(to)
	}
	p.term()
}

// freshness writes one change to a quiet topic and waits until ClickHouse shows
// that it was received.
func (w *world) freshness(to *workload.Kafka) {
	w.t.Helper()
	const topic = "cdc.erp.public.currency_currency"
	conn := w.clickhouse()
	received := func() (n int64) {
		if err := conn.QueryRow(w.t.Context(), "SELECT received FROM syncline.feed_health WHERE topic = '"+topic+"'").Scan(&n); err != nil {
			w.t.Fatal(err)
		}
		return n
	}
	before := received()
	if err := to.Produce(w.t.Context(), w.lastRecord(topic)); err != nil {
		w.t.Fatal(err)
	}
	if err := to.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	start := time.Now()
	for received() == before {
		if time.Since(start) > 10*time.Second {
			break
		}
	}
	if took := time.Since(start); took > 2*time.Second {
		w.t.Errorf("a single record was visible after %s, want 2 s", took)
	}
}

// TestTwoProcesses share a feed; one is killed in the middle.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "company")
	first := w.start("--slot", "0")
	second := w.start("--slot", "1")
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		second.wait("work of the second process", time.Minute, func(now cli.Progress) bool { return now.Records > 200 })
		second.kill()
	}()
	expected := w.play(company.Config{Seed: 5, Accounts: 500}, 500, nil)
	<-killed
	first.settle()
	w.check(expected)
	first.term()
}

// TestFrozenProcess stops one of two processes for longer than its session and
// its transactions live, so that the other takes over, and lets it go on: what
// it still has in hand must not count. It ends fenced or goes on as a member;
// both are right.
func TestFrozenProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "company")
	first := w.start("--slot", "0")
	second := w.start("--slot", "1")
	until, enough := context.WithCancel(t.Context())
	defer enough()
	truth := make(chan oracle.Expected, 1)
	go func() {
		defer close(truth)
		truth <- w.play(company.Config{Seed: 6, Accounts: 20_000, History: -1}, 300, until)
	}()
	for range often(1, 2) {
		last, _ := second.report()
		second.wait("work of the second process", time.Minute, func(now cli.Progress) bool { return now.Records > last.Records+200 })
		second.signal(syscall.SIGSTOP)
		frozen := time.NewTimer(16 * time.Second)
		<-frozen.C
		second.signal(syscall.SIGCONT)
	}
	enough()
	expected, ok := <-truth
	if !ok {
		t.Fatal("the company was not written")
	}
	select {
	case <-second.done: // fenced
	default:
		second.term()
	}
	first.settle()
	w.check(expected)
	first.term()
}

func TestCommandContract(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "tryton")
	w.load("debezium-tryton", 0)
	p := w.start()
	p.settle()
	bad := filepath.Join(w.dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("catalog: bad\nversion: 1\nsystems:\n  crm: {instance: x, role: bank, steward: s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		exit int
		code string // in the envelope
		want string // somewhere in the output
	}{
		{"verify --recording debezium-tryton", 0, "", `"ok":true`},
		{"doctor", 0, "", "transaction.version"},
		{"query", 2, "usage", "accepts 1 arg"},
		{"query SELEKT", 2, "query.sql", "SELEKT"},
		{"query SHOW\x00TABLES", 0, "", "deals"},
		{"frobnicate", 2, "usage", "unknown command"},
		{"catalog lint", 0, "", "30 tables"},
		{"catalog lint --against-registry", 0, "", "no problem"},
		{"catalog lint " + bad, 2, "catalog.invalid", "bad.yaml:4:"},
		{"run --catalog " + bad, 2, "catalog.invalid", "bad.yaml:4:"},
		{"run --partitions 0", 2, "config.invalid", "partitions"},
		{"registry subjects", 0, "", "canonical.deal-value"},
		{"registry show 999999", 1, "registry.unknown_id", ""},
		{"load nowhere", 2, "input.recording", "no recording"},
		{"query --clickhouse 127.0.0.1:1 SHOW", 3, "clickhouse.unreachable", "127.0.0.1:1"},
		{"verify", 2, "usage", ""},
	} {
		args := strings.Split(strings.ReplaceAll(c.args, "\x00", "\x01"), " ")
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "\x01", " ")
		}
		out, errs, exit := w.command(append(args, "-o", "json")...)
		if exit != c.exit {
			t.Errorf("%s: exit %d, want %d\n%s%s", c.args, exit, c.exit, out, errs)
			continue
		}
		var e cli.Envelope
		if err := json.Unmarshal([]byte(out), &e); err != nil {
			t.Errorf("%s: no envelope: %v\n%s", c.args, err, out)
			continue
		}
		if e.OK != (exit == 0) || (e.Error != nil) != (c.code != "") || e.Error != nil && (e.Error.Code != c.code || e.Error.Fix == "") {
			t.Errorf("%s: %s", c.args, out)
		}
		if !strings.Contains(out, c.want) {
			t.Errorf("%s: %q is not in %s", c.args, c.want, out)
		}
	}
	// Somebody alters a row: verify says so, and exits with 4.
	conn := w.clickhouse()
	if err := conn.Exec(t.Context(), "INSERT INTO syncline.canonical_invoice SELECT * REPLACE (version + 1 AS version, gross + 1 AS gross) FROM syncline.canonical_invoice FINAL WHERE native_id = '39'"); err != nil {
		t.Fatal(err)
	}
	out, _, exit := w.command("verify", "--recording", "debezium-tryton")
	if exit != 4 || !strings.Contains(out, "invoices erp/39: gross want 1247.88, got 1248.88") {
		t.Errorf("exit %d\n%s", exit, out)
	}
	p.term()
}
