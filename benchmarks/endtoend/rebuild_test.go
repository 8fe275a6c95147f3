package endtoend

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/benchmarks/workload/company"
)

// plan asks for a plan of a rebuild, of everything or of a table, and returns its hash.
func (w *world) plan(what string, args ...string) string {
	w.t.Helper()
	out, errs, exit := w.command(append([]string{"rebuild", what, "-o", "json"}, args...)...)
	var answer struct {
		Result struct{ Hash string }
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || exit != 0 || answer.Result.Hash == "" {
		w.t.Fatalf("plan: exit %d, %v\n%s%s", exit, err, out, errs)
	}
	return answer.Result.Hash
}

func (w *world) rebuild(what string) {
	w.t.Helper()
	if out, errs, exit := w.command("rebuild", what, "--apply", w.plan(what)); exit != 0 {
		w.t.Fatalf("rebuild: exit %d\n%s%s", exit, out, errs)
	}
}

// TestRebuildOfWhatIsUnchangedPublishesNothing: nor once more, and what comes
// later has versions that go on.
func TestRebuildOfWhatIsUnchangedPublishesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "company")
	source := &rounds{Producer: w.producer(0), left: 1500, next: make(chan int), quiet: make(chan struct{})}
	truth := w.playLater(company.Config{Seed: w.random.Uint64(), Accounts: 150, History: -1}, source)
	p := w.start()
	<-source.quiet
	p.settle()
	before := w.canonicalRecords()
	for range 2 {
		w.rebuild("all")
		if after := w.canonicalRecords(); after != before {
			t.Fatalf("%d canonical records after the rebuild, %d before", after, before)
		}
	}
	source.next <- 1 << 30
	expected, ok := <-truth
	if !ok {
		t.Fatal("the company was not written")
	}
	p.settle()
	w.check(expected)
	before = w.canonicalRecords()
	w.rebuild("all")
	if after := w.canonicalRecords(); after != before {
		t.Errorf("%d canonical records after the last rebuild, %d before", after, before)
	}
	p.settle()
	w.check(expected)

	// What the sources can no longer tell is not taken away, unless somebody says
	// that they do; nothing is begun by asking.
	w.deleteFirst("cdc.crm.sales.deals")
	if out, errs, exit := w.command("rebuild", "all", "--apply", "any"); exit != 2 || !strings.Contains(out+errs, "--complete cdc.crm.sales.deals") {
		t.Errorf("a source without its beginning: exit %d\n%s%s", exit, out, errs)
	}
	_ = w.plan("all", "--complete", "cdc.crm.sales.deals")
	if out, errs, exit := w.command("rebuild", "all", "--apply", "any"); exit != 2 {
		t.Errorf("exit %d\n%s%s", exit, out, errs)
	}
	p.settle()
	w.check(expected)
	p.term()
}

// deleteFirst deletes the first record of a partition of a topic that has more.
func (w *world) deleteFirst(topic string) {
	w.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.p.Brokers()...))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	ends, err := admin.ListEndOffsets(w.t.Context(), topic)
	if err != nil {
		w.t.Fatal(err)
	}
	offsets := kadm.Offsets{}
	ends.Each(func(o kadm.ListedOffset) {
		if len(offsets) == 0 && o.Offset > 1 {
			offsets.AddOffset(topic, o.Partition, 1, -1)
		}
	})
	deleted, err := admin.DeleteRecords(w.t.Context(), offsets)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil || len(deleted) == 0 {
		w.t.Fatalf("deleting a record of %s: %v", topic, err)
	}
}

// TestRebuildAfterAChangedMapping publishes what the mapping changes, each once
// and with its next version, and nothing else, cut off again and again on its way.
func TestRebuildAfterAChangedMapping(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "company")
	expected := w.play(company.Config{Seed: w.random.Uint64(), Accounts: 100, History: -1}, 0, nil)
	p := w.start()
	p.settle()
	w.check(expected)
	before := w.canonicalRecords()
	described, versions := w.sums("canonical_opportunity", "description IS NOT NULL")
	plans, planVersions := w.sums("canonical_product", "system = 'subs'")
	if described == 0 || plans == 0 {
		t.Fatal("nothing that the change concerns, so the test shows nothing")
	}
	p.term()

	original := w.catalog
	w.catalog = w.changedCatalog("      description: title\n", "", "cdc.subs.abo.plans", "cdc.subs.abo.not_there")
	for _, at := range []string{"waiting for the processes", "knows the last versions", "records left", "publishing what differs"} {
		p = w.start()
		w.cutOff("all", at)
		p.kill()
	}
	p = w.start()
	w.rebuild("all")
	p.settle()
	if changed := w.canonicalRecords() - before; changed != described+plans {
		t.Errorf("%d canonical records came out different, want %d descriptions and %d products", changed, described, plans)
	}
	if left, after := w.sums("canonical_opportunity", "description IS NOT NULL"); left != 0 || after != versions+described {
		t.Errorf("%d opportunities have the description still; their versions add up to %d, want %d", left, after, versions+described)
	}
	if left, _ := w.sums("canonical_product", "system = 'subs' AND NOT deleted"); left != 0 {
		t.Errorf("%d products of a table whose topic is not read any more are shown", left)
	}
	p.term()

	// Put back, all is as it was, with versions that went on.
	w.catalog = original
	p = w.start()
	w.rebuild("all")
	p.settle()
	w.check(expected)
	if _, after := w.sums("canonical_product", "system = 'subs'"); after != planVersions+2*plans {
		t.Errorf("the versions of the products that came back add up to %d, want %d", after, planVersions+2*plans)
	}
	p.term()

	// Letters of a mapping that is mended are healed, those of bad records are not.
	letters := w.openLetters()
	w.catalog = w.changedCatalog("closed_won: won, closed_lost: lost", "closed_won: won")
	p = w.start()
	w.rebuild("all")
	p.settle()
	if n := w.openLetters(); n <= letters {
		t.Error("a phase that is not mapped makes no letter, so the test shows nothing")
	}
	p.term()
	w.catalog = original
	p = w.start()
	w.rebuild("all")
	p.settle()
	if n := w.openLetters(); n != letters {
		out, _, _ := w.command("query", "SELECT topic, partition, offset, hop, reason, message FROM letters WHERE NOT healed")
		t.Errorf("%d letters are open, want %d as before:\n%s", n, letters, out)
	}
	w.check(expected)
	p.term()
}

func (w *world) openLetters() uint64 {
	w.t.Helper()
	var n uint64
	if err := w.clickhouse().QueryRow(w.t.Context(), "SELECT count() FROM syncline.letters WHERE NOT healed").Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// cutOff kills a rebuild once it says something.
func (w *world) cutOff(what, at string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "rebuild", what, "--apply", w.plan(what)) //nolint:gosec // the test binary
	cmd.Env = w.environ()
	errs, err := cmd.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	var said []string
	cut := false
	for lines := bufio.NewScanner(errs); lines.Scan(); {
		said = append(said, lines.Text())
		if !cut && strings.Contains(lines.Text(), at) {
			cut = true
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait() // it was killed
	if !cut {
		w.t.Fatalf("it never said %q:\n%s", at, strings.Join(said, "\n"))
	}
}

// sums counts the last rows of a table of which a condition holds, and adds up
// the versions: of all rows, or of a system's where the condition names one.
func (w *world) sums(table, condition string) (n, versions int) {
	w.t.Helper()
	var count uint64
	var sum int64
	query := "SELECT countIf(" + condition + "), sum(version) FROM (SELECT * FROM syncline." + table + " ORDER BY version DESC LIMIT 1 BY account_id, entity_id)"
	if strings.Contains(condition, "system") {
		query = "SELECT count(), sum(version) FROM (SELECT * FROM syncline." + table + " ORDER BY version DESC LIMIT 1 BY account_id, entity_id) WHERE " + condition
	}
	if err := w.clickhouse().QueryRow(w.t.Context(), query).Scan(&count, &sum); err != nil {
		w.t.Fatal(err)
	}
	return int(count), int(sum) //nolint:gosec // small
}

// changedCatalog writes the company's catalog with texts replaced.
func (w *world) changedCatalog(pairs ...string) string {
	w.t.Helper()
	text, err := os.ReadFile("../../pipelines/catalog/company.yaml")
	if err != nil {
		w.t.Fatal(err)
	}
	changed := string(text)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(changed, pairs[i]) {
			w.t.Fatalf("the catalog has no %q", pairs[i])
		}
		changed = strings.Replace(changed, pairs[i], pairs[i+1], 1)
	}
	path := filepath.Join(w.dir, "changed.yaml")
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}
