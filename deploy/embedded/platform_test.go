package embedded_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/deploy/embedded"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("EMBEDDED_TEST_PARENT"); dir != "" {
		parent(dir)
	}
	os.Exit(embedded.Main(m.Run))
}

// parent is the process the test kills: it starts a platform, prints the
// process ids of its children and waits. As a child of the platform it is
// started with the same environment, so that comes first.
func parent(dir string) {
	if handled, err := embedded.ChildMain(context.Background(), os.Args[1:]); handled {
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	p, err := embedded.Start(context.Background(), embedded.Options{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(p.Pids())
	select {}
}

func start(t *testing.T, dir string) *embedded.Platform {
	t.Helper()
	p, err := embedded.Start(t.Context(), embedded.Options{Dir: dir, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(t.Context()) })
	return p
}

func kafka(t *testing.T, p *embedded.Platform) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(p.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func house(t *testing.T, p *embedded.Platform) driver.Conn {
	t.Helper()
	credentials, _ := p.Credentials()
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr: []string{p.ClickHouseAddr()}, Protocol: clickhouse.HTTP,
		Auth: clickhouse.Auth{Username: credentials.Writer.Name, Password: credentials.Writer.Password},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func call(t *testing.T, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer any
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %v %v", method, url, res.Status, answer, err)
	}
	return fmt.Sprint(answer)
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
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

func TestPlatformKeepsEverythingOverARestart(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	first := start(t, dir)
	if _, err := embedded.Start(ctx, embedded.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "already runs") {
		t.Errorf("a second platform over the directory: %v", err)
	}
	if err := embedded.Wipe(dir); err == nil {
		t.Error("Wipe went ahead under a running platform")
	}
	addresses, err := embedded.ReadAddresses(dir)
	if err != nil || addresses.ClickHouse != first.ClickHouseAddr() || addresses.RegistryURL != first.RegistryURL() || len(addresses.Pids) != 3 {
		t.Errorf("another process reads %+v, %v", addresses, err)
	}
	for _, addr := range append(first.Brokers(), first.ClickHouseAddr(), strings.TrimPrefix(first.RegistryURL(), "http://")) {
		if !strings.HasPrefix(addr, "127.0.0.1:") {
			t.Errorf("%s is not on loopback", addr)
		}
	}
	client := kafka(t, first)
	if _, err := kadm.NewClient(client).CreateTopic(ctx, -1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	id := call(t, http.MethodPost, first.RegistryURL()+"/subjects/s/versions", `{"schema":"\"string\""}`)
	conn := house(t, first)
	if err := conn.Exec(ctx, "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec(ctx, "INSERT INTO t VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	pids := first.Pids()
	if err := first.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	for name, pid := range pids {
		if alive(pid) {
			t.Errorf("%s (pid %d) is left behind", name, pid)
		}
	}
	if _, err := embedded.ReadAddresses(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a stopped platform still has addresses: %v", err)
	}

	second := start(t, dir)
	if !second.Unclean().IsZero() {
		t.Error("a clean restart is called unclean")
	}
	if again := call(t, http.MethodPost, second.RegistryURL()+"/subjects/s/versions", `{"schema":"\"string\""}`); again != id {
		t.Errorf("the schema's id was %s and is %s", id, again)
	}
	offsets, err := kadm.NewClient(kafka(t, second)).ListEndOffsets(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	offsets.Each(func(o kadm.ListedOffset) { total += o.Offset })
	if total != 1 {
		t.Errorf("the topic has %d records", total)
	}
	var n uint64
	if err := house(t, second).QueryRow(ctx, "SELECT count() FROM t").Scan(&n); err != nil || n != 1 {
		t.Errorf("the table has %d rows, %v", n, err)
	}
}

func TestKilledChildrenComeBack(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	p := start(t, dir)
	conn, client := house(t, p), kafka(t, p)
	if err := conn.Exec(ctx, "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a"); err != nil {
		t.Fatal(err)
	}
	before := p.Pids()
	for _, name := range []string{embedded.EngineName, embedded.RegistryName, embedded.BrokerName} {
		if err := p.Kill(name); err != nil {
			t.Fatal(err)
		}
		waitFor(t, name+" to come back", func() bool { pid := p.Pids()[name]; return pid != 0 && pid != before[name] })
	}
	if err := conn.Exec(ctx, "INSERT INTO t VALUES (1)"); err != nil {
		t.Errorf("ClickHouse after kill -9, at the same address: %v", err)
	}
	if err := client.Ping(ctx); err != nil {
		t.Errorf("the broker after kill -9, at the same address: %v", err)
	}
	call(t, http.MethodGet, p.RegistryURL()+"/subjects", "")
	if p.Unclean().IsZero() {
		t.Error("the broker's unclean end is not reported")
	}

	// Down stays down, Up comes back at the same address.
	if err := p.Down(ctx, embedded.EngineName); err != nil {
		t.Fatal(err)
	}
	if err := conn.Ping(ctx); err == nil {
		t.Error("ClickHouse answers while it is down")
	}
	if err := p.Up(ctx, embedded.EngineName); err != nil {
		t.Fatal(err)
	}
	if err := conn.Ping(ctx); err != nil {
		t.Error(err)
	}
	if err := p.Restart(ctx, embedded.RegistryName); err != nil {
		t.Error(err)
	}
	if err := p.Kill("nothing"); err == nil {
		t.Error("a child that does not exist was killed")
	}
	if err := p.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := embedded.Wipe(dir); err != nil {
		t.Fatal(err)
	}
	again := start(t, dir)
	if !again.Unclean().IsZero() {
		t.Error("after Wipe the broker is still called unclean")
	}
	if err := house(t, again).Exec(ctx, "SELECT * FROM t"); err == nil {
		t.Error("after Wipe the table is still there")
	}
}

func TestChildThatCannotStayUpIsLeftDown(t *testing.T) {
	p := start(t, t.TempDir())
	addr := strings.TrimPrefix(p.RegistryURL(), "http://")
	if err := p.Kill(embedded.RegistryName); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", addr) // before the first wait is over
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-p.Failed():
		if !strings.Contains(err.Error(), "taken") {
			t.Errorf("the message does not say why: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("a child that cannot start was not given up")
	}
	_ = taken.Close()
	if err := p.Up(t.Context(), embedded.RegistryName); err != nil {
		t.Fatal(err)
	}
	call(t, http.MethodGet, p.RegistryURL()+"/subjects", "")
}

func TestChildrenEndWithAKilledParent(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "EMBEDDED_TEST_PARENT="+t.TempDir())
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var pids map[string]int
	if err := json.Unmarshal(line, &pids); err != nil || len(pids) != 3 {
		t.Fatalf("children %v, %v", pids, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for name, pid := range pids {
		waitFor(t, name+" to end with its parent", func() bool { return !alive(pid) })
	}
}

func TestFailedStartLeavesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	dir := t.TempDir()
	if _, err := embedded.Start(t.Context(), embedded.Options{Dir: dir, ClickHousePort: embedded.Port{Number: port}}); err == nil || !strings.Contains(err.Error(), "taken by another program") {
		t.Fatalf("error is %v", err)
	}
	p := start(t, dir) // the directory is free and the broker's end was clean
	if !p.Unclean().IsZero() {
		t.Error("the failed start left the broker unclean")
	}
}
