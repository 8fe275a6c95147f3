// Package live feeds Syncline as people do: from PostgreSQL through Kafka Connect
// and Debezium, with the settings that README.md gives to paste.
package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"syncline/deploy/embedded"
	"syncline/pipelines/cli"
)

const (
	// asCommand in the environment makes the test binary the command.
	asCommand = "SYNCLINE_TEST_AS_COMMAND"
	// live is "up", or the address of a Kafka; test-live.sh sets it.
	live = "SYNCLINE_TEST_LIVE"
	// jars is the folder of Connect's jars.
	jars = "SYNCLINE_TEST_LIVE_JARS"

	root = "../../"
	shop = "testdata/shop.yaml"
)

func TestMain(m *testing.M) {
	os.Exit(embedded.Main(func() int {
		if os.Getenv(asCommand) == "" {
			return m.Run()
		}
		ctx, stop := signal.NotifyContext(context.Background(), embedded.EndSignals()...)
		defer stop()
		return cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	}))
}

// TestLive: a snapshot, changes in one transaction, deletes, and a connector that is
// killed and says again what it has said; and what a program in Java reads.
func TestLive(t *testing.T) {
	where := os.Getenv(live)
	if where == "" {
		t.Skip("needs Java, Maven and PostgreSQL: make test-live")
	}
	s := startSyncline(t, where)
	db := startDatabase(t)
	db.exec("CREATE DATABASE shop")
	db.name = "shop"
	db.exec(`CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL, note text, changed_at timestamptz NOT NULL DEFAULT now());
		CREATE TABLE offer (id int PRIMARY KEY, customer_id int REFERENCES customer, number text, amount numeric(12, 2), currency char(3) DEFAULT 'EUR',
			state text NOT NULL DEFAULT 'open', changed_at timestamptz NOT NULL DEFAULT now());
		INSERT INTO customer (id, name, note) VALUES (1, 'Ada', repeat('long ', 2000)), (2, 'Bob', NULL), (3, 'Zoë & Søn', NULL);
		INSERT INTO offer (id, customer_id, number, amount) VALUES (1, 1, 'O-1', 100.50), (2, 2, 'O-2', 99999999.99), (3, 3, 'O-3', NULL)`)
	db.exec(block(t, "sql", "CREATE ROLE"))

	dir := t.TempDir()
	worker, connector := filepath.Join(dir, "worker.properties"), filepath.Join(dir, "shop.properties")
	// Only addresses differ from what is to be pasted.
	write(t, worker, strings.NewReplacer("127.0.0.1:9092", s.brokers, "http://127.0.0.1:8081", s.registry, "connect.offsets", filepath.Join(dir, "offsets")).
		Replace(block(t, "properties", "bootstrap.servers")))
	write(t, connector, strings.Replace(block(t, "properties", "connector.class"), "database.port=5432", "database.port="+db.port, 1))
	port := freePort(t)
	start := func() {
		t.Helper()
		script(t, "connect.sh", "start", "--dir", dir, "--worker", worker, "--standalone", connector, "--port", port, "--wait", "300")
	}
	t.Cleanup(func() { script(t, "connect.sh", "stop", "--dir", dir) })
	start()

	offers := "SELECT number, phase, toString(amount) AS amount, currency FROM opportunities ORDER BY number"
	s.shows(offers, `[{"amount":"100.5","currency":"EUR","number":"O-1","phase":"open"},{"amount":"99999999.99","currency":"EUR","number":"O-2","phase":"open"},{"currency":"EUR","number":"O-3","phase":"open"}]`)
	s.shows("SELECT name FROM accounts ORDER BY name", `[{"name":"Ada"},{"name":"Bob"},{"name":"Zoë & Søn"}]`)

	db.exec(`BEGIN; UPDATE offer SET state = 'won', amount = 101 WHERE id = 1; INSERT INTO customer (id, name) VALUES (4, 'Eve');
		INSERT INTO offer (id, customer_id, number, amount, currency) VALUES (4, 4, 'O-4', -1, 'USD'); DELETE FROM offer WHERE id = 2; COMMIT;
		BEGIN; UPDATE offer SET state = 'lost'; ROLLBACK; UPDATE customer SET name = 'Ada L.' WHERE id = 1`)
	changed := `[{"amount":"101","currency":"EUR","number":"O-1","phase":"won"},{"currency":"EUR","number":"O-3","phase":"open"},{"amount":"-1","currency":"USD","number":"O-4","phase":"open"}]`
	s.shows(offers, changed)
	s.shows("SELECT name FROM accounts ORDER BY name", `[{"name":"Ada L."},{"name":"Bob"},{"name":"Eve"},{"name":"Zoë & Søn"}]`)

	script(t, "connect.sh", "kill", "--dir", dir)
	db.exec("UPDATE offer SET amount = 55 WHERE id = 3")
	start()
	s.shows(offers, strings.Replace(changed, `{"currency":"EUR","number":"O-3"`, `{"amount":"55","currency":"EUR","number":"O-3"`, 1))
	s.shows("SELECT count() AS letters FROM letters", `[{"letters":"0"}]`)

	args := []string{"-cp", os.Getenv(jars) + "/*", root + "deploy/local/connect/Reader.java", s.brokers, "canonical.opportunity", "4"}
	if where == "up" { // the other one is told to make none by itself
		args = append(args, "topic-that-nobody-made")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "java", args...).Output() //nolint:gosec // our own
	if n := strings.Count("\n"+string(out), "\nok "); err != nil || n != 7 || strings.Contains(string(out), "not ok") {
		t.Errorf("a program in Java: %v\n%s", err, out)
	}
}

// block finds the fenced block of README.md that holds a text.
func block(t *testing.T, language, holds string) string {
	t.Helper()
	readme, err := os.ReadFile(root + "README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(readme), "```"+language+"\n")[1:] {
		if text, _, _ := strings.Cut(part, "```"); strings.Contains(text, holds) {
			return text
		}
	}
	t.Fatalf("README.md has no %s block with %s", language, holds)
	return ""
}

// syncline is what is fed and asked.
type syncline struct {
	t                 *testing.T
	dir               string
	brokers, registry string
	environ           []string
}

// startSyncline starts `up`, or on a Kafka the rest of a platform and `run`.
func startSyncline(t *testing.T, where string) *syncline {
	t.Helper()
	s := &syncline{t: t, dir: t.TempDir(), environ: append(os.Environ(), asCommand+"=1")}
	if where == "up" {
		s.environ = append(s.environ, "SYNCLINE_DATA_DIR="+s.dir)
		s.background("Stop with Ctrl-C.", "up", "--catalog", shop, "--kafka-port", "0", "--registry-port", "0", "--clickhouse-port", "0")
		at, err := embedded.ReadAddresses(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		s.brokers, s.registry = at.Brokers[0], at.RegistryURL
		return s
	}
	p, err := embedded.Start(t.Context(), embedded.Options{Dir: s.dir, Brokers: []string{where}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(context.Background()) }) //nolint:usetesting // the test's context has ended
	c, _ := p.Credentials()
	s.brokers, s.registry = where, p.RegistryURL()
	s.environ = append(s.environ, "SYNCLINE_BROKERS="+where, "SYNCLINE_REGISTRY_URL="+s.registry, "SYNCLINE_CLICKHOUSE="+p.ClickHouseAddr(),
		"SYNCLINE_CLICKHOUSE_USER="+c.Writer.Name, "SYNCLINE_CLICKHOUSE_PASSWORD="+c.Writer.Password)
	s.background(`"records"`, "run", "--report", "--catalog", shop)
	return s
}

// background runs a command until the test ends, and waits until it has said
// something.
func (s *syncline) background(until string, args ...string) {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(s.t.TempDir(), "out"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()                  // the child has it
	cmd := exec.Command(self, args...) //nolint:gosec // the test binary
	cmd.Env, cmd.Stdout, cmd.Stderr = s.environ, out, out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	said := func() string {
		text, _ := os.ReadFile(out.Name()) // what cannot be read is not said
		return string(text)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			s.t.Errorf("%v: %v\n%s", args, err, said())
		}
		if s.t.Failed() {
			s.t.Logf("%v said:\n%s", args, said())
		}
	})
	await(s.t, fmt.Sprintf("%v to say %s", args, until), func() (string, bool) { return said(), strings.Contains(said(), until) })
}

// shows waits until a query gives rows, as JSON.
func (s *syncline) shows(query, want string) {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	await(s.t, query, func() (string, bool) {
		cmd := exec.CommandContext(s.t.Context(), self, "query", query, "-o", "json") //nolint:gosec // the test binary
		cmd.Env = s.environ
		out, _ := cmd.Output() // a failure is in the answer
		var answer struct {
			Result []map[string]string
			Error  any
		}
		_ = json.Unmarshal(out, &answer)
		got, _ := json.Marshal(answer.Result) // texts
		return fmt.Sprintf("%s %v", got, answer.Error), string(unescaped(got)) == want
	})
}

// unescaped undoes what Marshal does for browsers.
func unescaped(raw []byte) []byte { return []byte(strings.ReplaceAll(string(raw), `\u0026`, "&")) }

func await(t *testing.T, what string, done func() (string, bool)) {
	t.Helper()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(4 * time.Minute); ; <-tick.C {
		found, ok := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited four minutes for %s: %s", what, found)
		}
	}
}

type database struct {
	t          *testing.T
	port, name string
}

func startDatabase(t *testing.T) *database {
	t.Helper()
	// The server may run as another user, who has to get there.
	dir, err := os.MkdirTemp("", "syncline-live-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // see above
		t.Fatal(err)
	}
	d := &database{t: t, port: freePort(t), name: "postgres"}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	script(t, "postgres.sh", "start", "--dir", dir, "--port", d.port)
	t.Cleanup(func() { script(t, "postgres.sh", "stop", "--dir", dir) })
	return d
}

func (d *database) exec(sql string) {
	d.t.Helper()
	out, err := exec.CommandContext(d.t.Context(), "psql", "-h", "127.0.0.1", "-p", d.port, "-U", "postgres", "-d", d.name, "-v", "ON_ERROR_STOP=1", "-qc", sql).CombinedOutput() //nolint:gosec // a test
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", sql, err, out)
	}
}

// script runs one of deploy/local's.
func script(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(root+"deploy/local/"+name, args...) //nolint:gosec // our own
	out, err := os.Create(filepath.Join(t.TempDir(), "script"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out // a file: what it leaves running must not hold us up
	if err := cmd.Run(); err != nil {
		text, e := os.ReadFile(out.Name())
		t.Fatalf("%s %v: %v\n%s", name, args, errors.Join(err, e), text)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
