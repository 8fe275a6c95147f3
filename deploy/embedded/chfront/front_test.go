package chfront_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"syncline/deploy/embedded/chfront"
	"syncline/deploy/embedded/engine"
)

// served is the one engine of this process and the front before it.
type served struct {
	addr   string
	engine *engine.Engine
}

var server served //nolint:gochecknoglobals // a process has one engine; TestMain owns it

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if dir := os.Getenv("CHFRONT_TEST_SERVE"); dir != "" {
		return serveChild(dir)
	}
	dir, err := os.MkdirTemp("", "chfront-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	e, err := openEngine(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer e.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s := chfront.New(e, chfront.Config{Logins: logins()}).Server()
	go func() { _ = s.Serve(listener) }()
	defer s.Close()
	server = served{addr: listener.Addr().String(), engine: e}
	return m.Run()
}

// logins are a writer whom every test may be without saying so, and a reader.
func logins() []engine.Login {
	return []engine.Login{{Name: "default"}, {Name: "reader", Password: "r'w", ReadOnly: true}}
}

func openEngine(dir string) (*engine.Engine, error) {
	cache, err := engine.UserCache(os.Stderr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	library, err := cache.Library(ctx)
	if err != nil {
		return nil, err
	}
	return engine.Open(library, engine.Config{Dir: dir})
}

// serveChild is the process the restart tests kill: it prints its address and
// serves until it is ended.
func serveChild(dir string) int {
	e, err := openEngine(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(listener.Addr())
	s := chfront.New(e, chfront.Config{Logins: logins()}).Server()
	go func() {
		var b [1]byte
		_, _ = os.Stdin.Read(b[:]) // the end of stdin ends the child cleanly
		_ = s.Close()
	}()
	_ = s.Serve(listener)
	e.Close()
	return 0
}

type option func(*clickhouse.Options)

func compressed(method clickhouse.CompressionMethod) option {
	return func(o *clickhouse.Options) { o.Compression = &clickhouse.Compression{Method: method} }
}

func connect(t *testing.T, addr string, options ...option) driver.Conn {
	t.Helper()
	o := &clickhouse.Options{
		Addr: []string{addr}, Protocol: clickhouse.HTTP,
		Auth: clickhouse.Auth{Database: "default", Username: "default"},
		// The client gives up waiting for a busy engine later than the test.
		DialTimeout: 10 * time.Second, ReadTimeout: time.Minute, MaxOpenConns: 8, MaxIdleConns: 8,
	}
	for _, option := range options {
		option(o)
	}
	conn, err := clickhouse.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// table makes a table with a name of the test's own and drops it at the end.
func table(t *testing.T, conn driver.Conn, name, columns string) {
	t.Helper()
	if err := conn.Exec(t.Context(), fmt.Sprintf("CREATE TABLE %s %s", name, columns)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Exec(t.Context(), "DROP TABLE "+name) })
}

func count(t *testing.T, conn driver.Conn, query string, args ...any) uint64 {
	t.Helper()
	var n uint64
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	return send(t, http.MethodGet, url, nil)
}
