package chfront_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"syncline/deploy/embedded/chfront"
	"syncline/deploy/embedded/engine"
)

func send(t *testing.T, method, address string, body io.Reader, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func at(query string, more ...string) string {
	values := url.Values{"query": {query}}
	for i := 0; i+1 < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	return "http://" + server.addr + "/?" + values.Encode()
}

func TestPlainHTTP(t *testing.T) {
	for _, c := range []struct{ name, url, want string }{
		{"ping", "http://" + server.addr + "/ping", "Ok.\n"},
		{"root", "http://" + server.addr + "/", "Ok.\n"},
		{"tab separated by default", at("SELECT 1, 'a\tb'"), "1\ta\\tb\n"},
		{"format clause", at("SELECT 1 AS x FORMAT JSONEachRow"), "{\"x\":1}\n"},
		{"default_format", at("SELECT 1 AS x", "default_format", "CSVWithNames"), "\"x\"\n1\n"},
		{"parameter", at("SELECT {a:String} || toString({n:Int32})", "param_a", "it's", "param_n", "-4"), "it\\'s-4\n"},
		{"empty parameter", at("SELECT length({a:String})", "param_a", ""), "0\n"},
		{"setting", at("SELECT getSetting('max_block_size')", "max_block_size", "77"), "77\n"},
		{"database", at("SELECT currentDatabase()", "database", "system"), "system\n"},
		{"show", at("SHOW DATABASES LIKE 'def%'"), "default\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, text := get(t, c.url)
			if res.StatusCode != http.StatusOK || text != c.want {
				t.Errorf("got %d %q, want 200 %q", res.StatusCode, text, c.want)
			}
		})
	}
}

func TestSettingsLastForOneRequest(t *testing.T) {
	if _, text := get(t, at("SELECT getSetting('max_block_size')", "max_block_size", "77")); text != "77\n" {
		t.Fatalf("setting did not apply: %q", text)
	}
	if _, text := get(t, at("SELECT getSetting('max_block_size')")); text == "77\n" {
		t.Error("a setting of one request was seen by the next")
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, method, url, body string
		headers                 []string
		status                  int
		code, text              string
	}{
		{name: "unknown table", url: at("SELECT * FROM nowhere"), status: 404, code: "60", text: "nowhere"},
		{name: "syntax", method: "POST", url: at("SELEC 1"), status: 400, code: "62", text: "Syntax error"},
		{name: "unknown setting", url: at("SELECT 1", "no_such_setting", "1"), status: 404, code: "115", text: "no_such_setting"},
		{name: "unknown database", url: at("SELECT 1", "database", "nowhere"), status: 404, code: "81", text: "nowhere"},
		{name: "setting name with SQL", url: at("SELECT 1", "a = 1, b", "1"), status: 400, code: "36", text: "Setting name"},
		{name: "two statements", method: "POST", url: at("SELECT 1; SELECT 2"), status: 400, code: "62", text: "Multi-statements"},
		{name: "writing by GET", url: at("CREATE TABLE by_get (a UInt8) ENGINE = Memory"), status: 500, code: "164", text: "readonly"},
		{name: "session", url: at("SELECT 1", "session_id", "s"), status: 404, code: "372", text: "session_id"},
		{name: "empty", method: "POST", url: "http://" + server.addr + "/", body: " ", status: 400, code: "62", text: "Empty query"},
		{name: "method", method: "PUT", url: at("SELECT 1"), status: 501, code: "48", text: "PUT"},
		{name: "type that does not pass", url: at("SELECT '{}'::JSON AS j", "default_format", "Native", "client_protocol_version", "54460"), status: 404, code: "50", text: "Column j"},
		{name: "foreign host", url: at("SELECT 1"), headers: []string{"Host", "evil.example"}, status: 421, text: "evil.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			method := c.method
			if method == "" {
				method = http.MethodGet
			}
			res, text := send(t, method, c.url, strings.NewReader(c.body), c.headers...)
			if res.StatusCode != c.status || res.Header.Get("X-ClickHouse-Exception-Code") != c.code || !strings.Contains(text, c.text) {
				t.Errorf("got %d, code %s, %q; want %d, code %s, text with %q", res.StatusCode, res.Header.Get("X-ClickHouse-Exception-Code"), text, c.status, c.code, c.text)
			}
		})
	}
}

func TestClientSeesExceptions(t *testing.T) {
	for name, method := range map[string]clickhouse.CompressionMethod{"none": clickhouse.CompressionNone, "lz4": clickhouse.CompressionLZ4} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, server.addr, compressed(method))
			var exception *clickhouse.Exception
			if err := conn.Exec(t.Context(), "SELECT * FROM nowhere"); !errors.As(err, &exception) || exception.Code != 60 {
				t.Errorf("exec: %v", err)
			}
			if err := conn.QueryRow(t.Context(), "SELECT * FROM nowhere").Err(); !errors.As(err, &exception) || exception.Code != 60 {
				t.Errorf("query: %v", err)
			}
			// Far enough into the result for the header to be out.
			rows, err := conn.Query(t.Context(), "SELECT number, throwIf(number = 900000) FROM numbers(1000000) SETTINGS max_block_size = 10000")
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for rows.Next() {
				n++
			}
			exception = nil
			if err := rows.Err(); !errors.As(err, &exception) || exception.Code != 395 {
				t.Errorf("after %d rows: %v, want exception 395", n, err)
			}
			if n < 10000 {
				t.Errorf("only %d rows came before the exception: the result did not stream", n)
			}
		})
	}
}

func TestParametersAndSettingsOfTheClient(t *testing.T) {
	conn := connect(t, server.addr)
	// Parameter values are escaped as in TabSeparated, here as on a server.
	ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{"n": "41", "s": `a'b\nc`}),
		clickhouse.WithSettings(clickhouse.Settings{"max_block_size": 123}))
	var n, size uint64
	var s string
	if err := conn.QueryRow(ctx, "SELECT {n:UInt64} + 1, {s:String}, getSetting('max_block_size')::UInt64").Scan(&n, &s, &size); err != nil {
		t.Fatal(err)
	}
	if n != 42 || s != "a'b\nc" || size != 123 {
		t.Errorf("got %d, %q, %d", n, s, size)
	}
	if got := count(t, conn, "SELECT toUInt64(?) + ?", 40, 2); got != 42 {
		t.Errorf("bound arguments gave %d", got)
	}
}

func TestInsertForms(t *testing.T) {
	conn := connect(t, server.addr)
	table(t, conn, "forms", "(a UInt32, b String) ENGINE = MergeTree ORDER BY a")
	for _, c := range []struct{ name, url, body string }{
		{"values in the text", "http://" + server.addr + "/", "INSERT INTO forms VALUES (1, 'one; two')"},
		{"data below the statement", "http://" + server.addr + "/", "INSERT INTO forms FORMAT JSONEachRow\n{\"a\":2,\"b\":\"x\"}\n"},
		{"statement in the URL", at("INSERT INTO forms (a, b) FORMAT CSV"), "3,\"three\"\n4,four\n"},
		{"values in the body", at("INSERT INTO forms VALUES"), "(5, 'v')"},
		{"select", at("INSERT INTO forms SELECT 6, 's'"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if res, text := send(t, http.MethodPost, c.url, strings.NewReader(c.body)); res.StatusCode != http.StatusOK {
				t.Errorf("%d %s", res.StatusCode, text)
			}
		})
	}
	var all string
	if err := conn.QueryRow(t.Context(), "SELECT toString(groupArray((a, b))) FROM (SELECT * FROM forms ORDER BY a)").Scan(&all); err != nil {
		t.Fatal(err)
	}
	if want := "[(1,'one; two'),(2,'x'),(3,'three'),(4,'four'),(5,'v'),(6,'s')]"; all != want {
		t.Errorf("table holds %s, want %s", all, want)
	}
}

func TestTruncatedInsertWritesNothing(t *testing.T) {
	conn := connect(t, server.addr)
	table(t, conn, "truncated", "(a UInt32) ENGINE = MergeTree ORDER BY a")
	// More whole rows than the engine's default blocks hold, then the connection breaks.
	body := io.MultiReader(strings.NewReader(strings.Repeat("1\n", 3_000_000)), brokenReader{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at("INSERT INTO truncated FORMAT CSV"), body)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := http.DefaultClient.Do(req); err == nil {
		_ = res.Body.Close()
		t.Fatalf("a broken request was answered with %d", res.StatusCode)
	}
	if n := count(t, conn, "SELECT count() FROM truncated"); n != 0 {
		t.Errorf("a broken insert left %d rows", n)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestClientThatLeavesEndsItsQuery(t *testing.T) {
	conn := connect(t, server.addr)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- conn.Exec(ctx, "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number), 'left')")
	}()
	running := func() uint64 {
		return count(t, conn, "SELECT count() FROM system.processes WHERE query LIKE '%''left''%' AND query NOT LIKE '%system.processes%'")
	}
	waitFor(t, "the query to run", func() bool { return running() == 1 })
	cancel()
	if err := <-ended; err == nil {
		t.Error("a cancelled query gave no error")
	}
	waitFor(t, "the query to be killed", func() bool { return running() == 0 })
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited too long for %s", what)
		case <-tick.C:
		}
	}
}

func TestAuthenticationAndLimits(t *testing.T) {
	front := httptest.NewServer(chfront.New(server.engine, chfront.Config{Logins: []engine.Login{{Name: "u", Password: "p'w"}}, MaxInsertBytes: 1000, MaxQueryBytes: 500}))
	defer front.Close()
	addr := strings.TrimPrefix(front.URL, "http://")
	if res, _ := get(t, front.URL+"/?query=SELECT+1"); res.StatusCode != http.StatusForbidden {
		t.Errorf("without a password: %d", res.StatusCode)
	}
	if res, text := get(t, front.URL+"/?query=SELECT+1&user=u&password=p%27w"); text != "1\n" {
		t.Errorf("with user and password in the URL: %d %q", res.StatusCode, text)
	}
	conn := connect(t, addr, func(o *clickhouse.Options) { o.Auth = clickhouse.Auth{Username: "u", Password: "p'w"} })
	if err := conn.Ping(t.Context()); err != nil {
		t.Errorf("with the right password: %v", err)
	}
	wrong := connect(t, addr, func(o *clickhouse.Options) { o.Auth = clickhouse.Auth{Username: "u", Password: "wrong"} })
	var exception *clickhouse.Exception
	if err := wrong.Ping(t.Context()); !errors.As(err, &exception) || exception.Code != 516 {
		t.Errorf("with a wrong password: %v", err)
	}
	table(t, conn, "limited", "(a String) ENGINE = MergeTree ORDER BY a")
	query := front.URL + "/?user=u&password=p%27w&query=" + url.QueryEscape("INSERT INTO limited FORMAT CSV")
	if res, text := send(t, http.MethodPost, query, strings.NewReader(strings.Repeat("x\n", 600))); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("an insert over the limit: %d %s", res.StatusCode, text)
	}
	if n := count(t, conn, "SELECT count() FROM limited"); n != 0 {
		t.Errorf("an insert over the limit left %d rows", n)
	}
	long := "SELECT '" + strings.Repeat("x", 600) + "'"
	if res, _ := send(t, http.MethodPost, front.URL+"/?user=u&password=p%27w", strings.NewReader(long)); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a statement over the limit: %d", res.StatusCode)
	}
}
