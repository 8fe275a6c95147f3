package endtoend

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"syncline/deploy/embedded"
)

// TestQueryOnlyReads: whatever statement a user types, and whether the platform's
// reader asks or an own user who may write.
func TestQueryOnlyReads(t *testing.T) {
	w := newWorld(t, "tryton")
	outside := filepath.Join(t.TempDir(), "outside")
	conn := w.clickhouse()
	for _, statement := range []string{"CREATE DATABASE syncline", "CREATE TABLE syncline.t (a UInt8) ENGINE = MergeTree ORDER BY a", "INSERT INTO syncline.t VALUES (1)"} {
		if err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for name, environ := range map[string][]string{
		"reader": append(os.Environ(), asCommand+"=1", "SYNCLINE_DATA_DIR="+w.dir), "writer": w.environ(),
	} {
		for _, statement := range []string{
			"INSERT INTO t VALUES (2)", "INSERT INTO t SELECT 2", "CREATE TABLE made (a UInt8) ENGINE = Memory", "CREATE TEMPORARY TABLE made (a UInt8)",
			"CREATE VIEW made AS SELECT 1", "CREATE DATABASE made", "CREATE FUNCTION made AS (x) -> x", "DROP TABLE t", "TRUNCATE TABLE t", "RENAME TABLE t TO made",
			"ALTER TABLE t DELETE WHERE 1", "ALTER TABLE t ADD COLUMN b UInt8", "DELETE FROM t WHERE 1", "OPTIMIZE TABLE t", "SET readonly = 0", "SYSTEM STOP MERGES",
			"KILL MUTATION WHERE 1", "GRANT SELECT ON *.* TO " + embedded.ReaderName, "SELECT 1 SETTINGS readonly = 0", "SELECT 1 SETTINGS max_threads = 1",
			"SELECT 1; DROP TABLE t", "SELECT 1; SET readonly = 0", "SELECT 1 INTO OUTFILE '" + outside + "'", "SELECT file('/etc/passwd')",
			"SELECT * FROM file('/etc/passwd', 'LineAsString')", "SELECT * FROM url('http://" + w.p.ClickHouseAddr() + "/ping', 'LineAsString')",
		} {
			if out, errs, exit := w.run(environ, "query", statement); exit != 2 || out != "" || !strings.Contains(errs, "query.sql") {
				t.Errorf("the %s: %s: exit %d\n%s%s", name, statement, exit, out, errs)
			}
		}
		if out, errs, exit := w.run(environ, "query", "SELECT a, 'INTO OUTFILE' AS x FROM t", "-o", "json"); exit != 0 || !strings.Contains(out, `"a":"1"`) {
			t.Errorf("the %s reads: exit %d\n%s%s", name, exit, out, errs)
		}
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("a file was written")
	}
	var n, made uint64
	if err := conn.QueryRow(t.Context(), "SELECT (SELECT sum(a) FROM syncline.t), (SELECT count() FROM system.tables WHERE name = 'made')").Scan(&n, &made); err != nil || n != 1 || made != 0 {
		t.Errorf("something has changed: %d, %d tables made, %v", n, made, err)
	}

	// connect-info is the one command that shows passwords, and only when asked.
	c, _ := w.p.Credentials()
	for _, args := range [][]string{{"connect-info"}, {"connect-info", "-o", "json"}, {"doctor"}, {"doctor", "-o", "json", "--log-level", "debug"}} {
		out, errs, _ := w.run(append(os.Environ(), asCommand+"=1", "SYNCLINE_DATA_DIR="+w.dir), args...)
		if strings.Contains(out+errs, c.Writer.Password) || strings.Contains(out+errs, c.Reader.Password) {
			t.Errorf("%v shows a password:\n%s%s", args, out, errs)
		}
		if args[0] == "connect-info" && !strings.Contains(out, embedded.ReaderName) {
			t.Errorf("%v names no user: %s%s", args, out, errs)
		}
	}
	out, errs, exit := w.run(append(os.Environ(), asCommand+"=1", "SYNCLINE_DATA_DIR="+w.dir), "connect-info", "--show-password")
	if exit != 0 || !strings.Contains(out, c.Reader.Password) || !strings.Contains(out, c.Writer.Password) || !strings.Contains(out, w.p.ClickHouseAddr()) {
		t.Errorf("connect-info --show-password: exit %d\n%s%s", exit, out, errs)
	}
}
