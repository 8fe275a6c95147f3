package clickhouse

import (
	"context"
	"strings"
	"testing"
	"time"
)

func finding(t *testing.T, w *Writer, subject string) Finding {
	t.Helper()
	all, err := w.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.Subject == subject {
			return f
		}
	}
	t.Fatalf("no finding about %s in %v", subject, all)
	return Finding{}
}

func TestCheck(t *testing.T) {
	w := open(t)
	all, err := w.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if !f.OK || f.Fix != "" {
			t.Errorf("a fresh database: %+v", f)
		}
	}
	for _, statement := range []string{
		"ALTER TABLE " + w.opts.Database + ".canonical_deal RESET SETTING non_replicated_deduplication_window",
		"ALTER TABLE " + w.opts.Database + ".canonical_order DROP COLUMN number",
		"DROP TABLE " + w.opts.Database + ".letters_raw",
	} {
		if err := w.conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for subject, word := range map[string]string{"tables": "letters_raw", "columns": "canonical_order.number", "deduplication": "canonical_deal"} {
		if f := finding(t, w, subject); f.OK || f.Fix == "" || !strings.Contains(f.Text, word) {
			t.Errorf("%s must name %s: %+v", subject, word, f)
		}
	}
}

func TestCheckOfVersions(t *testing.T) {
	for text, ok := range map[string]bool{"26.7.3": true, "24.8.1.2684": true, "24.7.9": false, "18.16.1": false, "": false, "new": false} {
		if f := version(text); f.OK != ok {
			t.Errorf("version %q: %+v", text, f)
		}
	}
}

func TestCheckWithoutServer(t *testing.T) {
	w := openBare(t, func(o *Options) { o.Addresses = []string{"127.0.0.1:1"} })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := w.Check(ctx)
	retryable(t, err)
}

func TestADatabaseHasOneOwner(t *testing.T) {
	w := open(t)
	write(t, w, "canonical.order", part(t, 0, 0, order("a", "x", 1)))
	if err := w.Migrate(t.Context()); err != nil {
		t.Fatalf("our own rows: %v", err)
	}
	other := openBare(t, func(o *Options) {
		o.Database = w.opts.Database
		o.Topic = func(record string) string { return "acme." + topicOf(record) }
	})
	permanent(t, other.Migrate(t.Context()), "canonical_order", "canonical.order", w.opts.Database)
	f := finding(t, other, "owner")
	if f.OK || f.Fix == "" || !strings.Contains(f.Text, "canonical_order") {
		t.Errorf("%+v", f)
	}
}

// Of a table that was emptied the keys are missing that its topic has, and what a
// rebuild has left is named with what takes it away.
func TestCheckNamesRebuilds(t *testing.T) {
	s := newStory(t)
	entity := order("o01", "x", 1).EntityID
	account := ask(t, s.sink, "[account_id] AS row FROM "+s.sink.opts.Database+".canonical_order WHERE native_id = 'o01' LIMIT 1")
	keys := map[string][]string{"canonical.order": {entity + "/" + account, entity + "/somebody else"}, "canonical.deal": nil}
	f, err := s.sink.CheckKeys(t.Context(), keys)
	if err != nil || f.OK || !strings.Contains(f.Text, "canonical_order has no row of 1 of 2 keys") || !strings.Contains(f.Fix, "syncline rebuild order") {
		t.Errorf("%+v, %v", f, err)
	}
	keys["canonical.order"] = keys["canonical.order"][:1]
	if f, err := s.sink.CheckKeys(t.Context(), keys); err != nil || !f.OK || f.Fix != "" {
		t.Errorf("%+v, %v", f, err)
	}
	s.exec("TRUNCATE TABLE ORDERS")
	if f, err := s.sink.CheckKeys(t.Context(), keys); err != nil || f.OK {
		t.Errorf("%+v, %v", f, err)
	}
	s.exec("CREATE TABLE ORDERS_rebuild_0a0b0c0d AS ORDERS")
	s.exec("ALTER TABLE ORDERS ADD CONSTRAINT rebuild_hold_1000000 CHECK 0")
	for subject, word := range map[string]string{"rebuild of canonical_order": "syncline rebuild order", "hold of canonical_order": "a minute"} {
		if f := finding(t, s.sink, subject); !f.OK || !f.Warning || !strings.Contains(f.Fix, word) {
			t.Errorf("%s: %+v", subject, f)
		}
	}
}
