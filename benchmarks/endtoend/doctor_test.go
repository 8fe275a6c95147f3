package endtoend

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/pipelines/cli"
	"syncline/schemas/registry"
)

// diagnosis is doctor's report as a script reads it.
type diagnosis []cli.Finding

func (w *world) doctor(args ...string) (d diagnosis, exit int) {
	w.t.Helper()
	out, errs, exit := w.command(append([]string{"doctor", "-o", "json"}, args...)...)
	var answer struct{ Result diagnosis }
	if err := json.Unmarshal([]byte(out), &answer); err != nil || len(answer.Result) == 0 {
		w.t.Fatalf("doctor: exit %d, %v\n%s%s", exit, err, out, errs)
	}
	return answer.Result, exit
}

// finds demands a finding whose check and text hold these words; a broken one and
// a warning need a fix.
func (d diagnosis) finds(t *testing.T, state, check string, words ...string) {
	t.Helper()
	var near []string
	for _, f := range d {
		if !strings.Contains(f.Check, check) {
			continue
		}
		is := "ok"
		switch {
		case !f.OK:
			is = "broken"
		case f.Warning:
			is = "warning"
		}
		near = append(near, fmt.Sprintf("%s: %s: %s (%s)", f.Check, is, f.Found, f.Fix))
		whole := true
		for _, word := range words {
			whole = whole && strings.Contains(f.Found+" "+f.Fix, word)
		}
		if whole && is == state && (is == "ok" || f.Fix != "") {
			return
		}
	}
	t.Errorf("doctor does not find that %s is %s with %q; it says\n  %s", check, state, words, strings.Join(near, "\n  "))
}

// settled asks until a check is ok with these words, and demands that nothing is
// called broken meanwhile.
func (w *world) settled(check, words string) diagnosis {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; pause(200 * time.Millisecond) {
		d, exit := w.doctor()
		if exit != 0 {
			w.t.Errorf("until %s are %s: exit %d\n%v", check, words, exit, d)
			return d
		}
		if slices.ContainsFunc(d, func(f cli.Finding) bool {
			return f.Check == check && !f.Warning && strings.Contains(f.Found, words)
		}) || time.Now().After(deadline) {
			return d // the caller says what it misses
		}
	}
}

// TestDoctor brings one fault about after another, each to be found with its fix.
func TestDoctor(t *testing.T) {
	w := newWorld(t, "tryton")
	t.Setenv("SYNCLINE_UNKNOWN_SCHEMA_WAIT", "10m")

	// Nothing has run yet.
	d, exit := w.doctor()
	if exit != 0 {
		t.Errorf("a fresh cluster: exit %d", exit)
	}
	d.finds(t, "ok", "own topics", "none yet")
	d.finds(t, "warning", "processes", "none runs", "syncline run")
	d.finds(t, "warning", "source topics", "0 of")

	// Processes, before any topic of a source exists.
	p, q := w.start(), w.start("--slot", "1", "--parts", "hops")
	for _, p := range []*pipelines{p, q} {
		p.wait("the first report", time.Minute, func(cli.Progress) bool { return true })
	}
	d = w.settled("own topics", "as they should be") // they are made one after another
	d.finds(t, "ok", "processes", fmt.Sprintf("slot 0: process %d on", p.cmd.Process.Pid), fmt.Sprintf("slot 1: process %d on", q.cmd.Process.Pid), "hops and sink")
	d.finds(t, "ok", "group syncline.intake", "processes: 2, waiting for the first of its topics")
	d.finds(t, "ok", "own topics", "as they should be")
	d.finds(t, "ok", "clocks", "here and the broker")
	d.finds(t, "ok", "clocks", "here and ClickHouse")
	d.finds(t, "ok", "ClickHouse disk", "GiB free")

	w.load("debezium-tryton", 0)
	p.settle()
	d, exit = w.doctor()
	if exit != 0 {
		t.Errorf("at rest: exit %d\n%v", exit, d)
	}
	for _, group := range []string{"intake", "document", "party", "account"} {
		d.finds(t, "ok", "group syncline."+group, "slots 0, 1", "nothing behind")
	}
	d.finds(t, "ok", "group syncline.clickhouse", "slots 0")
	d.finds(t, "ok", "letters", "none is open")

	// A letter, a record that waits for its schema, a stopped task.
	const source = "cdc.crm.public.party_party"
	good := w.lastRecord(source)
	to := w.producer(0)
	send := func(value []byte, partition int32) {
		r := good
		r.Value, r.Partition = value, partition
		if err := to.Produce(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	send([]byte("poison"), good.Partition)
	send(registry.Frame(99_999, []byte{2, 'x'}), good.Partition)
	send(good.Value, good.Partition) // behind the one that waits
	if err := to.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	admin := w.kafkaAdmin()
	raw, err := kgo.NewClient(kgo.SeedBrokers(w.p.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	week := "604800000"
	if _, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &week}}, source, w.names.Rows); err != nil {
		t.Fatal(err)
	}
	if err := raw.ProduceSync(t.Context(), &kgo.Record{Topic: w.names.Rows, Partition: 2, Value: []byte("no row")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		stopped, _ := p.report()
		other, _ := q.report()
		if len(stopped.Stopped)+len(other.Stopped) > 0 && len(stopped.Waiting)+len(other.Waiting) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing stops or waits: %+v %+v", stopped, other)
		}
		pause(20 * time.Millisecond)
	}
	pause(5 * time.Second) // a process says so in its next record, and the sink has the letter
	d, exit = w.doctor()
	if exit != 3 {
		t.Errorf("a stopped task: exit %d", exit)
	}
	d.finds(t, "broken", "document syncline.rows/2", "stopped since", "record.corrupt")
	d.finds(t, "warning", fmt.Sprintf("intake %s/%d", source, good.Partition), "waiting since", "record.unknown_schema", "99999")
	d.finds(t, "warning", fmt.Sprintf("retention %s/%d", source, good.Partition), "hours are left")
	d.finds(t, "broken", "topic syncline.rows", "retention.ms is 604800000", "must be -1")
	d.finds(t, "warning", "letters record.frame", "1 of "+source)
	d.finds(t, "ok", "group syncline.intake", "2 behind, the oldest from")

	// Settings that do not fit.
	t.Setenv("SYNCLINE_BROKER", "x")
	t.Setenv("SYNCLINE_FOO", "x")
	d, _ = w.doctor("--partitions", "5")
	d.finds(t, "broken", "topic syncline.rows", "has 4 partitions", "--partitions 4")
	d.finds(t, "warning", "environment", "SYNCLINE_BROKER is no setting", "did you mean SYNCLINE_BROKERS?")
	d.finds(t, "warning", "environment", "SYNCLINE_FOO is no setting")
	if _, errs, _ := w.command("catalog", "lint"); !strings.Contains(errs, "SYNCLINE_BROKER is no setting") || !strings.Contains(errs, "did you mean SYNCLINE_BROKERS?") {
		t.Errorf("no word of a variable that does nothing:\n%s", errs)
	}
	os.Unsetenv("SYNCLINE_BROKER")
	os.Unsetenv("SYNCLINE_FOO")

	// One that died without a word.
	q.kill()
	d, _ = w.doctor()
	d.finds(t, "warning", "processes", fmt.Sprintf("slot 1: process %d", q.cmd.Process.Pid), "ended without a word")
	p.kill()

	// A table and a column gone, a topic gone, a position that cannot be.
	conn := w.clickhouse()
	for _, statement := range []string{"DROP TABLE syncline.canonical_payment", "ALTER TABLE syncline.letters_raw DROP COLUMN reason"} {
		if err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := admin.DeleteTopics(t.Context(), "syncline.party.changelog"); err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{"syncline.party"} {
		for try := 0; ; try++ {
			offsets := kadm.Offsets{}
			offsets.AddOffset(w.names.Documents, 0, 1<<40, -1)
			r, err := admin.CommitOffsets(t.Context(), group, offsets)
			if err == nil {
				err = r.Error()
			}
			if err == nil {
				break
			}
			if try == 100 {
				t.Fatal(err)
			}
			pause(200 * time.Millisecond) // members of the dead are still in the group
		}
	}
	d, _ = w.doctor()
	d.finds(t, "broken", "topic syncline.party.changelog", "absent", "rebuild")
	d.finds(t, "broken", "positions", "syncline.documents/0", "1099511627776")
	d.finds(t, "broken", "ClickHouse tables", "canonical_payment")
	d.finds(t, "broken", "ClickHouse columns", "letters_raw.reason")
	d.finds(t, "warning", "processes", "none runs")
	d.finds(t, "warning", "group syncline.intake", "no member", "2 behind")
}

func pause(d time.Duration) { <-time.After(d) }
