package chfront_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
)

func TestEveryQueryNeedsALogin(t *testing.T) {
	const who = "SELECT 1"
	for _, c := range []struct {
		name    string
		url     string
		headers []string
		in      bool
	}{
		{name: "parameters", url: at(who, "user", "reader", "password", "r'w"), in: true},
		{name: "headers of ClickHouse", url: at(who), headers: []string{"X-ClickHouse-User", "reader", "X-ClickHouse-Key", "r'w"}, in: true},
		{name: "basic", url: at(who), headers: []string{"Authorization", "Basic cmVhZGVyOnIndw=="}, in: true},
		{name: "wrong password", url: at(who, "user", "reader", "password", "r'")},
		{name: "no password", url: at(who, "user", "reader")},
		{name: "nobody's name", url: at(who, "user", "root", "password", "r'w")},
		{name: "another's password", url: at(who, "user", "default", "password", "r'w")},
		{name: "wrong header over right parameters", url: at(who, "user", "reader", "password", "r'w"), headers: []string{"X-ClickHouse-User", "reader", "X-ClickHouse-Key", "x"}},
		{name: "a path of its own", url: strings.Replace(at(who, "user", "x"), "/?", "/play?", 1)},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			res, text := send(t, method, c.url, nil, c.headers...)
			if c.in && text != "1\n" || !c.in && (res.StatusCode != http.StatusForbidden || res.Header.Get("X-ClickHouse-Exception-Code") != "516") {
				t.Errorf("%s, %s: %d %q", c.name, method, res.StatusCode, text)
			}
			if strings.Contains(text, "r'w") {
				t.Errorf("%s: the answer shows a password: %q", c.name, text)
			}
		}
	}
}

// TestReaderOnlyReads: by no statement, parameter, header or method does a reader,
// or a GET of anybody, change anything.
func TestReaderOnlyReads(t *testing.T) {
	conn := connect(t, server.addr)
	table(t, conn, "kept", "(a UInt32) ENGINE = MergeTree ORDER BY a")
	if err := conn.Exec(t.Context(), "INSERT INTO kept VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	statements := []string{
		"INSERT INTO kept VALUES (2)", "INSERT INTO kept SELECT 2", "INSERT INTO kept FORMAT CSV\n2",
		"/* SELECT */ INSERT INTO kept VALUES (2)", "WITH 2 AS x INSERT INTO kept SELECT x",
		"CREATE TABLE made (a UInt8) ENGINE = Memory", "CREATE TEMPORARY TABLE made (a UInt8)", "CREATE DATABASE made", "CREATE VIEW made AS SELECT 1",
		"CREATE OR REPLACE TABLE kept (a UInt8) ENGINE = Memory", "CREATE FUNCTION f AS (x) -> x", "CREATE USER u", "CREATE ROLE r",
		"DROP TABLE kept", "DROP DATABASE default", "TRUNCATE TABLE kept", "RENAME TABLE kept TO lost", "EXCHANGE TABLES kept AND kept",
		"DETACH TABLE kept", "ATTACH TABLE kept", "UNDROP TABLE kept",
		"ALTER TABLE kept ADD COLUMN b UInt8", "ALTER TABLE kept DELETE WHERE 1", "DELETE FROM kept WHERE 1", "UPDATE kept SET a = 2 WHERE 1",
		"OPTIMIZE TABLE kept", "KILL QUERY WHERE 1 ASYNC", "KILL MUTATION WHERE 1", "SYSTEM STOP MERGES", "SYSTEM SHUTDOWN", "SYSTEM FLUSH LOGS",
		"SET readonly = 0", "SET max_threads = 1", "SET ROLE NONE", "USE system", "GRANT SELECT ON *.* TO default", "REVOKE ALL ON *.* FROM default",
		"BACKUP TABLE kept TO Memory('b')", "RESTORE TABLE kept FROM Memory('b')", "BEGIN TRANSACTION", "EXECUTE AS default SELECT 1", "MOVE USER u TO x",
		"SELECT 1; DROP TABLE kept", "SELECT 1; SET readonly = 0", "SELECT 1;;SELECT 2",
		"SELECT 1 SETTINGS readonly = 0", "SELECT * FROM (SELECT 1 SETTINGS readonly = 0)", "SELECT (SELECT 1 SETTINGS `readonly` = 0)", "WITH x AS (SELECT 1 settings\nmax_threads=1, ReadOnly=0) SELECT * FROM x",
		"SELECT 1 SETTINGS readonly = 0 UNION ALL SELECT 2", "SELECT 1 /* /* */ ' */ FROM (SELECT 1 SETTINGS readonly = 0) -- '",
		"EXPLAIN SELECT 1 SETTINGS readonly = 2, max_threads = 1; DROP TABLE kept",
		"SELECT 1 INTO OUTFILE '" + outside + "'", "SELECT 1 into/**/outfile'" + outside + "'", "EXPLAIN SELECT 1 INTO OUTFILE '" + outside + "' FORMAT CSV",
		"SELECT 1 /* /* */ ' */ INTO OUTFILE '" + outside + "' -- '", "SELECT $a$ ' $a$ INTO OUTFILE '" + outside + "' -- '",
		"FROM numbers(1) SELECT 1 INTO OUTFILE '" + outside + "' APPEND", `\\i /etc/hostname`, "EXIT",
	}
	for _, statement := range statements {
		for name, url := range map[string]string{
			"POST of the reader":           at("", "user", "reader", "password", "r'w"),
			"POST with readonly=1":         at("", "user", "reader", "password", "r'w", "readonly", "1"),
			"GET of the reader":            at(statement, "user", "reader", "password", "r'w"),
			"GET of the writer":            at(statement),
			"GET of the writer, with more": at(statement, "readonly", "2", "database", "default"),
		} {
			method, body := http.MethodGet, ""
			if strings.HasPrefix(name, "POST") {
				method, body = http.MethodPost, statement
			} else if strings.Contains(statement, "SETTINGS readonly = 2, max_threads") {
				continue // GET may choose settings, readonly excepted
			}
			if res, text := send(t, method, url, strings.NewReader(body)); res.StatusCode == http.StatusOK {
				t.Errorf("%s: %s went through: %q", name, statement, text)
			}
		}
	}
	for _, readonly := range []string{"0", "", "-1", "3", "false"} {
		for _, url := range []string{at("SELECT 1", "readonly", readonly), at("SELECT 1", "readonly", readonly, "user", "reader", "password", "r'w")} {
			if res, text := get(t, url); res.StatusCode == http.StatusOK || !strings.Contains(text, "readonly") {
				t.Errorf("GET with readonly=%s: %d %q", readonly, res.StatusCode, text)
			}
		}
	}
	for _, setting := range []string{"max_threads", "additional_result_filter", "output_format_schema", "format_schema", "log_queries", "allow_ddl", "profile"} {
		if res, text := get(t, at("SELECT 1", setting, "1", "user", "reader", "password", "r'w")); res.StatusCode == http.StatusOK {
			t.Errorf("the reader set %s: %q", setting, text)
		}
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("a file was written")
	}
	if n := count(t, conn, "SELECT count() * 100 + sum(a) FROM kept"); n != 101 {
		t.Errorf("the table has changed: %d", n)
	}
	if n := count(t, conn, "SELECT count() FROM system.tables WHERE database = 'default' AND name IN ('made', 'lost')"); n != 0 {
		t.Error("a table was made")
	}
}

// What a reader needs still works, with the usual client too.
func TestReaderReads(t *testing.T) {
	conn := connect(t, server.addr, func(o *clickhouse.Options) { o.Auth = clickhouse.Auth{Username: "reader", Password: "r'w"} })
	for _, statement := range []string{
		"SELECT 1", "select 'INTO OUTFILE', 1 -- INTO OUTFILE", "WITH 1 AS x SELECT x", "(SELECT 1)", "SHOW TABLES", "DESCRIBE system.one", "EXPLAIN SELECT 1", "EXISTS TABLE t",
		"FROM numbers(1) SELECT number", "SELECT * FROM system.numbers LIMIT 3 FORMAT JSON", "SELECT 'drop table t; insert'", "SELECT 1;",
	} {
		if res, text := send(t, http.MethodPost, at("", "user", "reader", "password", "r'w"), strings.NewReader(statement)); res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", statement, res.StatusCode, text)
		}
	}
	for setting, value := range map[string]string{"max_execution_time": "5", "max_result_rows": "7", "output_format_json_quote_64bit_integers": "1", "readonly": "1"} {
		if res, text := get(t, at("SELECT toString(getSetting('"+setting+"'))", setting, value, "user", "reader", "password", "r'w")); res.StatusCode != http.StatusOK || strings.TrimSpace(text) == "" {
			t.Errorf("with %s: %d %s", setting, res.StatusCode, text)
		}
	}
	if n := count(t, conn, "SELECT toUInt64(?)", 7); n != 7 {
		t.Errorf("the client got %d", n)
	}
}

// TestNobodyReachesFilesOrTheNetwork tries what would, as the writer: each is
// refused, and nothing was read, written or called.
func TestNobodyReachesFilesOrTheNetwork(t *testing.T) {
	called := false
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			called = true
			_ = c.Close()
		}
	}()
	dir := t.TempDir()
	secret, outside := filepath.Join(dir, "secret.csv"), filepath.Join(dir, "outside")
	if err := os.WriteFile(secret, []byte("hushhush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, server.addr)
	table(t, conn, "target", "(a String) ENGINE = MergeTree ORDER BY a")
	expand := strings.NewReplacer("$SECRET", secret, "$OUTSIDE", outside, "$ADDR", listener.Addr().String())
	statements := []string{
		"SELECT * FROM file('$SECRET', 'CSV', 'a String')", "SELECT * FROM `$SECRET`", "SELECT * FROM default.`$SECRET`", "DESCRIBE TABLE file('$SECRET', 'CSV')",
		"SELECT file('$SECRET')", "SELECT file ('$SECRET')", "SELECT file/**/('$SECRET')", "INSERT INTO FUNCTION file('$OUTSIDE', 'CSV', 'a String') VALUES ('x')",
		"INSERT INTO target SELECT * FROM file('$SECRET', 'CSV', 'a String')", "INSERT INTO target FROM INFILE '$SECRET' FORMAT CSV",
		"SELECT 1 INTO OUTFILE '$OUTSIDE'", `\\i $SECRET`, "SELECT * FROM filesystem('$SECRET')", "SELECT * FROM executable('x.sh', 'CSV', 'a String')",
		"SELECT * FROM url('http://$ADDR/', 'CSV', 'a String')", "INSERT INTO FUNCTION url('http://$ADDR/', 'CSV', 'a String') VALUES ('x')",
		"SELECT * FROM remote('$ADDR', system.one)", "SELECT * FROM remoteSecure('$ADDR', system.one)", "SELECT * FROM cluster('c', system.one)",
		"SELECT * FROM s3('http://$ADDR/bucket/x.csv', 'CSV', 'a String')", "SELECT * FROM s3('http://$ADDR/bucket/x.csv', NOSIGN, 'CSV', 'a String')",
		"SELECT * FROM hdfs('hdfs://$ADDR/x', 'CSV', 'a String')", "SELECT * FROM azureBlobStorage('http://$ADDR/a', 'c', 'b', 'a', 'ay==', 'CSV', 'auto', 'a String')",
		"SELECT * FROM mysql('$ADDR', 'd', 't', 'u', 'p')", "SELECT * FROM postgresql('$ADDR', 'd', 't', 'u', 'p')", "SELECT * FROM mongodb('$ADDR', 'd', 't', 'u', 'p', 'a String')",
		"SELECT * FROM redis('$ADDR', 'k', 'k String')", "SELECT * FROM sqlite('$SECRET', 't')", "SELECT * FROM jdbc('jdbc:x', 't')", "SELECT * FROM odbc('DSN=x', 's', 't')",
		"SELECT * FROM deltaLake('http://$ADDR/bucket/x')", "SELECT * FROM iceberg('http://$ADDR/bucket/x')", "SELECT * FROM icebergLocal('$SECRET')", "SELECT * FROM deltaLakeLocal('$SECRET')",
		"CREATE DATABASE x ENGINE = MySQL('$ADDR', 'd', 'u', 'p')", "CREATE DATABASE x ENGINE = PostgreSQL('$ADDR', 'd', 'u', 'p')", "CREATE DATABASE x ENGINE = SQLite('$SECRET')",
		"CREATE DATABASE x ENGINE = Filesystem('/')", "CREATE DATABASE x ENGINE = S3('http://$ADDR/b')", "CREATE DATABASE x ENGINE = Backup('d', File('$SECRET'))",
		"CREATE DICTIONARY x (id UInt64, a String) PRIMARY KEY id SOURCE(FILE(path '$SECRET' format 'CSV')) LAYOUT(FLAT()) LIFETIME(0)",
		"CREATE DICTIONARY x (id UInt64, a String) PRIMARY KEY id SOURCE(HTTP(url 'http://$ADDR/' format 'CSV')) LAYOUT(FLAT()) LIFETIME(0)",
		"CREATE DICTIONARY x (id UInt64, a String) PRIMARY KEY id SOURCE(EXECUTABLE(command 'id' format 'CSV')) LAYOUT(FLAT()) LIFETIME(0)",
		"CREATE FUNCTION x AS (a) -> file(a)", "CREATE NAMED COLLECTION x AS url = 'http://$ADDR/'", "CREATE USER x", "GRANT ALL ON *.* TO default",
		"BACKUP TABLE target TO File('$OUTSIDE')", "BACKUP TABLE target TO S3('http://$ADDR/b/c', 'k', 's')", "RESTORE TABLE target FROM File('$SECRET')",
		"CREATE TABLE y (a String) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '$OUTSIDE/')",
		"ATTACH TABLE x FROM '$OUTSIDE' (a String) ENGINE = MergeTree ORDER BY a", "ALTER TABLE target FREEZE", "ALTER TABLE target FETCH PARTITION tuple() FROM '/x'",
		"SELECT 1 FORMAT Template SETTINGS format_template_resultset = '$SECRET'", "SELECT 1 SETTINGS format_schema = '$SECRET:x' FORMAT Protobuf",
		"SELECT 1 SETTINGS output_format_schema = '$OUTSIDE' FORMAT CapnProto", "SET format_schema = '$SECRET:x'",
		"SELECT 1 SETTINGS format_avro_schema_registry_url = 'http://$ADDR' FORMAT AvroConfluent", "SELECT 1 SETTINGS additional_result_filter = 'file(\\'$SECRET\\') != 1'",
		"SELECT aiGenerate('x', 'y')", "SYSTEM SHUTDOWN", "SYSTEM RELOAD CONFIG",
	}
	var engines string
	const open = "'MergeTree', 'ReplacingMergeTree', 'SummingMergeTree', 'AggregatingMergeTree', 'Memory', 'Null'"
	if err := conn.QueryRow(t.Context(), "SELECT arrayStringConcat(groupArray(name), ' ') FROM system.table_engines WHERE name NOT IN ("+open+")").Scan(&engines); err != nil {
		t.Fatal(err)
	}
	for engine := range strings.FieldsSeq(engines) {
		statements = append(statements, "CREATE TABLE x (a String) ENGINE = "+engine, "create table x (engine String) engine`"+engine+"`")
	}
	for _, statement := range statements {
		res, text := send(t, http.MethodPost, "http://"+server.addr+"/", strings.NewReader(expand.Replace(statement)))
		if res.StatusCode == http.StatusOK || strings.Contains(text, "hushhush") {
			t.Errorf("%s: %d %q", statement, res.StatusCode, text)
		}
		if strings.HasPrefix(statement, "CREATE TABLE x (a String) ENGINE = ") && res.Header.Get("X-ClickHouse-Exception-Code") != "497" {
			t.Errorf("%s: refused for another reason: %q", statement, text)
		}
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("a file was written")
	}
	if called {
		t.Error("a connection was opened")
	}
	if n := count(t, conn, "SELECT count() FROM target"); n != 0 {
		t.Errorf("%d rows were written", n)
	}
}
