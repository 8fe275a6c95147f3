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
