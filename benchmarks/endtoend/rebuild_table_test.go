package endtoend

import (
	"strings"
	"testing"

	"syncline/benchmarks/workload/company"
)

// TestRebuildTables breaks tables by hand under running pipelines: doctor names the
// command, and after it, cut off once and done once while the feed goes on, every
// figure is right. The sink whose table was gone goes on by itself.
func TestRebuildTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "company")
	source := &rounds{Producer: w.producer(300), left: 1500, next: make(chan int), quiet: make(chan struct{})}
	truth := w.playLater(company.Config{Seed: w.random.Uint64(), Accounts: 150, History: -1}, source)
	p := w.start()
	<-source.quiet
	p.settle()
	conn := w.clickhouse()
	for _, statement := range []string{
		"TRUNCATE TABLE syncline.canonical_order",
		"DELETE FROM syncline.canonical_invoice WHERE cityHash64(entity_id) % 3 = 0",
		"INSERT INTO syncline.canonical_invoice (account_id, entity_id, native_id, version, _topic, _last) VALUES ('x', 'y', 'forged', 900, 'canonical.invoice', 0)",
		"INSERT INTO syncline.canonical_account (account_id, entity_id, native_id, version, _topic, _topic_id, _partition, _last) SELECT account_id, entity_id, 'forged', version + 1000, _topic, _topic_id, _partition, _last FROM syncline.canonical_account",
	} {
		if err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	w.doctorNames("syncline rebuild order", "canonical_order has no row")
	for _, statement := range []string{"DROP TABLE syncline.canonical_deal SYNC", "ALTER TABLE syncline.canonical_payment DROP COLUMN amount"} {
		if err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	w.doctorNames("syncline rebuild deal", "syncline rebuild payment")

	source.next <- 1 << 30 // the feed goes on while the tables are filled
	for _, entity := range []string{"order", "invoice", "account", "deal", "payment"} {
		w.cutOff(entity, "exchanging")
		w.rebuild(entity)
	}
	expected, ok := <-truth
	if !ok {
		t.Fatal("the company was not written")
	}
	p.settle()
	w.check(expected)
	if out, errs, exit := w.command("doctor"); exit != 0 {
		t.Errorf("doctor: exit %d\n%s%s", exit, out, errs)
	}
	p.term()

	// Without the pipelines too. What cannot be filled so is refused with another way.
	if err := conn.Exec(t.Context(), "TRUNCATE TABLE syncline.canonical_subscription"); err != nil {
		t.Fatal(err)
	}
	w.rebuild("subscription")
	w.check(expected)
	for _, name := range []string{"identity_link", "letters", "feeds", "customer"} {
		if out, errs, exit := w.command("rebuild", name); exit != 2 || !strings.Contains(errs, "TRUNCATE") && !strings.Contains(errs, "opportunity") {
			t.Errorf("rebuild %s: exit %d\n%s%s", name, exit, out, errs)
		}
	}
}

func (w *world) doctorNames(words ...string) {
	w.t.Helper()
	out, errs, exit := w.command("doctor")
	for _, word := range words {
		if exit != 3 || !strings.Contains(out, word) {
			w.t.Errorf("doctor: exit %d, and %q is wanted:\n%s%s", exit, word, out, errs)
		}
	}
}
