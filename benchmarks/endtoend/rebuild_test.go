package endtoend

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"syncline/benchmarks/workload/company"
)

// plan asks for a plan of a rebuild and returns its hash.
func (w *world) plan(args ...string) string {
	w.t.Helper()
	out, errs, exit := w.command(append([]string{"rebuild", "all", "-o", "json"}, args...)...)
	var answer struct {
		Result struct{ Hash string }
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || exit != 0 || answer.Result.Hash == "" {
		w.t.Fatalf("plan: exit %d, %v\n%s%s", exit, err, out, errs)
	}
	return answer.Result.Hash
}

func (w *world) rebuild() {
	w.t.Helper()
	if out, errs, exit := w.command("rebuild", "all", "--apply", w.plan()); exit != 0 {
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
		w.rebuild()
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
	w.rebuild()
	if after := w.canonicalRecords(); after != before {
		t.Errorf("%d canonical records after the last rebuild, %d before", after, before)
	}
	p.settle()
	w.check(expected)
	p.term()
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
	described, versions := w.descriptions()
	if described == 0 {
		t.Fatal("no opportunity has a description, so the test shows nothing")
	}
	p.term()

	w.catalog = w.changedCatalog("      description: title\n", "")
	for i := range 4 {
		p = w.start()
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+3*i)*time.Second)
		cmd := exec.CommandContext(ctx, os.Args[0], "rebuild", "all", "--apply", w.plan()) //nolint:gosec // the test binary, killed when the time is over
		cmd.Env = w.environ()
		out, err := cmd.CombinedOutput()
		cancel()
		t.Logf("round %d: %v\n%s", i, err, out)
		p.kill()
	}
	p = w.start()
	w.rebuild()
	p.settle()
	if changed := w.canonicalRecords() - before; changed != described {
		t.Errorf("%d canonical records came out different, want %d", changed, described)
	}
	if left, after := w.descriptions(); left != 0 || after != versions+described {
		t.Errorf("%d opportunities have the description still; their versions add up to %d, want %d", left, after, versions+described)
	}
	p.term()
}

// descriptions counts the opportunities that have one, and adds up the versions
// of all opportunities.
func (w *world) descriptions() (described, versions int) {
	w.t.Helper()
	var n uint64
	var sum int64
	if err := w.clickhouse().QueryRow(w.t.Context(), "SELECT countIf(description IS NOT NULL), sum(version) FROM syncline.canonical_opportunity FINAL").Scan(&n, &sum); err != nil {
		w.t.Fatal(err)
	}
	return int(n), int(sum) //nolint:gosec // small
}

// changedCatalog writes the company's catalog with one text replaced.
func (w *world) changedCatalog(from, to string) string {
	w.t.Helper()
	text, err := os.ReadFile("../../pipelines/catalog/company.yaml")
	if err != nil {
		w.t.Fatal(err)
	}
	changed := strings.Replace(string(text), from, to, 1)
	if changed == string(text) {
		w.t.Fatalf("the catalog has no %q", from)
	}
	path := filepath.Join(w.dir, "changed.yaml")
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}
