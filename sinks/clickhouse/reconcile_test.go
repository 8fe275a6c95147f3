package clickhouse

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"syncline/schemas/canonical"
)

// earlier makes the writer's database as the migrations made it that were there
// before tables were reconciled, with their version table.
func earlier(t *testing.T, w *Writer) {
	t.Helper()
	if err := w.createDatabase(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/goose/*.sql")
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	run := func(statement string) {
		if err := w.conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%.80s: %v", statement, err)
		}
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(l string) bool { return strings.HasPrefix(l, "--") })
		for statement := range strings.SplitSeq(strings.Join(lines, "\n"), ";\n") {
			if strings.TrimSpace(statement) != "" {
				run(statement)
			}
		}
	}
	run("CREATE TABLE goose_db_version (version_id Int64, is_applied UInt8, date Date DEFAULT now(), tstamp DateTime DEFAULT now()) ENGINE = MergeTree() ORDER BY (date)")
	run("INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (1, 1), (2, 1), (3, 1)")
}

// asBefore copies a topic's rows into an earlier database, as a sink of then would
// have written them.
func asBefore(t *testing.T, earlier, fresh *Writer, topic string) {
	t.Helper()
	of, entity, _ := strings.Cut(topic, ".")
	table := "canonical_" + entity
	if of != "canonical" {
		table = entity + "_raw"
	}
	columns := ask(t, earlier, "[arrayStringConcat(groupArray(concat('`', name, '`')), ', ')] AS row FROM system.columns WHERE database = '"+earlier.opts.Database+"' AND table = '"+table+"'")
	if err := earlier.conn.Exec(t.Context(), "INSERT INTO "+table+" ("+columns+") SELECT "+columns+" FROM "+fresh.opts.Database+"."+table); err != nil {
		t.Fatal(err)
	}
}

// columnsOf lists name, type and meaning of every column, of tables and views.
func columnsOf(t *testing.T, w *Writer) string {
	t.Helper()
	return ask(t, w, "[table, name, type, comment] AS row FROM system.columns WHERE database = '"+w.opts.Database+"' ORDER BY table, name")
}

// A database of before is brought up to date in place: its rows stay, it gets
// what a new database has, and its old version table is left alone.
func TestAnEarlierDatabaseIsUpgradedInPlace(t *testing.T) {
	w := openBare(t)
	earlier(t, w)
	fresh := open(t)
	for topic, rec := range one(1) {
		write(t, fresh, topic, part(t, 0, 0, rec))
		asBefore(t, w, fresh, topic)
	}
	// What a version lacks that is older than the one whose migrations these are.
	for _, statement := range []string{"ALTER TABLE canonical_invoice DROP COLUMN kind", "ALTER TABLE canonical_order DROP COLUMN number, DROP COLUMN lines.unit_price"} {
		if err := w.conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	wants(t, w, "native_id, number", "orders", "1|NULL")
	wants(t, w, "native_id, quantity, unit_price", "order_lines", "1|1|NULL")
	wants(t, w, "native_id, kind", "invoices", "1|invoice") // Avro's default, as of an older record
	wants(t, w, "max(version_id)", "goose_db_version", "3")
	got := slices.DeleteFunc(strings.Split(columnsOf(t, w), "\n"), func(s string) bool { return strings.HasPrefix(s, "goose_db_version|") })
	if want := columnsOf(t, fresh); strings.Join(got, "\n") != want {
		t.Errorf("an upgraded database has\n%s\na new one\n%s", strings.Join(got, "\n"), want)
	}
	comments := func(w *Writer) string {
		return ask(t, w, "[name, comment] AS row FROM system.tables WHERE name != 'goose_db_version' AND database = '"+w.opts.Database+"' ORDER BY name")
	}
	if comments(w) != comments(fresh) {
		t.Errorf("an upgraded database says\n%s\na new one\n%s", comments(w), comments(fresh))
	}
	o := order("2", "a", 1)
	o.Number = ptr("S-2")
	write(t, w, "canonical.order", part(t, 0, 1, o))
	wants(t, w, "number", "orders WHERE native_id = '2'", "S-2")
}

// Nothing to do is no statement, so that a user without the right to alter
// tables can work with a database that is up to date.
func TestNothingIsDoneTwice(t *testing.T) {
	w := open(t)
	changed := "[toString(max(metadata_modification_time)), toString(count())] AS row FROM system.tables WHERE database = '" + w.opts.Database + "'"
	before := ask(t, w, changed)
	s, err := newSchema()
	if err != nil {
		t.Fatal(err)
	}
	statements, err := w.pending(t.Context(), s)
	if err != nil || len(statements) > 0 {
		t.Errorf("pending after Migrate: %v, %v", statements, err)
	}
	if err := w.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := ask(t, w, changed); after != before {
		t.Errorf("something was made anew: %s, then %s", before, after)
	}
}

// A view that an earlier version has put back is made anew; one that shows more
// than ours is a later version's and stays.
func TestViewsOfOtherVersions(t *testing.T) {
	w := open(t)
	run := func(statement string) {
		if err := w.conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	run("CREATE OR REPLACE VIEW orders AS SELECT system, native_id FROM canonical_order FINAL")
	run("CREATE OR REPLACE VIEW products AS SELECT *, 1 AS later FROM (SELECT system, native_id, code, name, complete, incomplete_reason, version, updated_at, entity_id FROM product_names)")
	run("DROP VIEW letters")
	if err := w.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, w, "canonical.order", part(t, 0, 0, order("1", "a", 1)))
	write(t, w, "canonical.product", part(t, 0, 0, &canonical.ProductRecord{Envelope: env("p1", "", 1), Kind: "product"}))
	wants(t, w, "native_id, gross, account_id", "orders", "1|NULL|a")
	wants(t, w, "native_id, later", "products", "1|1")
	wants(t, w, "count()", "letters", "0")
}

// Whoever looks at a column must learn what it means.
func TestEverythingIsExplained(t *testing.T) {
	w := open(t)
	if mute := ask(t, w, "[table, name] AS row FROM system.columns WHERE comment = '' AND database = '"+w.opts.Database+"'"); mute != "" {
		t.Errorf("columns without a comment:\n%s", mute)
	}
	if mute := ask(t, w, "[name] AS row FROM system.tables WHERE comment = '' AND database = '"+w.opts.Database+"'"); mute != "" {
		t.Errorf("tables and views without a comment:\n%s", mute)
	}
}

var update = flag.Bool("update", false, "rewrite docs/views.md")

// docs/views.md is what the views say of themselves.
func TestDocsAreThoseOfTheViews(t *testing.T) {
	w := open(t)
	s, err := newSchema()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("# The views\n\nWritten from the database: `go test ./sinks/clickhouse -run Docs -update`. Each column bears its meaning as its comment there too.\n")
	b.WriteString("Times are UTC, money is beside its currency; [ARCHITECTURE.md](../ARCHITECTURE.md) defines every figure.\n")
	for _, v := range s.views {
		b.WriteString("\n## " + v.name + "\n\n" + v.doc + "\n\n| column | type | meaning |\n|---|---|---|\n")
		rows := ask(t, w, "[name, type, replaceAll(comment, '|', '/')] AS row FROM system.columns WHERE database = '"+w.opts.Database+"' AND table = '"+v.name+"' ORDER BY position")
		for row := range strings.SplitSeq(rows, "\n") {
			f := strings.SplitN(row, "|", 3)
			b.WriteString("| " + f[0] + " | " + f[1] + " | " + f[2] + " |\n")
		}
	}
	const file = "../../docs/views.md"
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // public
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil { //nolint:gosec // public
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Error("docs/views.md is not what the views say; run `go test ./sinks/clickhouse -run Docs -update`")
	}
}
