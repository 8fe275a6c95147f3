package chfront_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

func insertNumbers(t *testing.T, conn driver.Conn, name, token string, from, n uint64) error {
	t.Helper()
	ctx := t.Context()
	if token != "" {
		ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": token}))
	}
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+name+" (a)")
	if err != nil {
		return err
	}
	ids := make([]uint64, n)
	for i := range ids {
		ids[i] = from + uint64(i)
	}
	if err := batch.Column(0).Append(ids); err != nil {
		return err
	}
	return batch.Send()
}

func TestDeduplicationToken(t *testing.T) {
	conn := connect(t, server.addr)
	table(t, conn, "dedup", "(a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 1000")
	table(t, conn, "no_dedup", "(a UInt64) ENGINE = MergeTree ORDER BY a")
	const rows = 1_500_000
	for range 2 {
		for _, name := range []string{"dedup", "no_dedup"} {
			if err := insertNumbers(t, conn, name, "t-1", 0, rows); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := count(t, conn, "SELECT count() FROM dedup"); n != rows {
		t.Errorf("the same token twice left %d rows, want %d", n, rows)
	}
	if n := count(t, conn, "SELECT count() FROM no_dedup"); n != 2*rows {
		t.Errorf("without a window there are %d rows, want %d: this test would not see a lost insert", n, 2*rows)
	}
	// The token decides, not the content: other rows under the same token are
	// dropped, the same rows under another one stay.
	if err := insertNumbers(t, conn, "dedup", "t-1", 5_000_000, 10); err != nil {
		t.Fatal(err)
	}
	if err := insertNumbers(t, conn, "dedup", "t-2", 0, 10); err != nil {
		t.Fatal(err)
	}
	if n := count(t, conn, "SELECT count() FROM dedup"); n != rows+10 {
		t.Errorf("there are %d rows, want %d", n, rows+10)
	}
}

func TestOneInsertIsOnePart(t *testing.T) {
	conn := connect(t, server.addr)
	table(t, conn, "one_part", "(a UInt64) ENGINE = MergeTree ORDER BY a")
	if err := conn.Exec(t.Context(), "SYSTEM STOP MERGES one_part"); err != nil {
		t.Fatal(err)
	}
	// More rows than the engine puts into one block of its own accord.
	if res, text := send(t, http.MethodPost, at("INSERT INTO one_part FORMAT CSV"), strings.NewReader(strings.Repeat("1\n", 3_000_000))); res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	if n := count(t, conn, "SELECT count() FROM system.parts WHERE table = 'one_part'"); n != 1 {
		t.Errorf("one insert made %d parts", n)
	}
}

func TestReadersBesideWriters(t *testing.T) {
	conn := connect(t, server.addr)
	table(t, conn, "busy", "(a UInt64) ENGINE = MergeTree ORDER BY a")
	const inserts, size = 40, 5_000
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	errs := make(chan error, 16)
	for w := range 2 {
		writers.Go(func() {
			for i := range inserts {
				if err := insertNumbers(t, conn, "busy", "", uint64((w*inserts+i)*size), size); err != nil {
					errs <- fmt.Errorf("writer: %w", err)
					return
				}
			}
		})
	}
	for range 4 {
		readers.Go(func() {
			last := uint64(0)
			for {
				var n, distinct uint64
				if err := conn.QueryRow(t.Context(), "SELECT count(), uniqExact(a) FROM busy").Scan(&n, &distinct); err != nil {
					errs <- fmt.Errorf("reader: %w", err)
					return
				}
				if n != distinct || n%size != 0 || n < last {
					errs <- fmt.Errorf("reader saw %d rows, %d distinct, after %d: a part of an insert, or a step back", n, distinct, last)
					return
				}
				last = n
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	if n := count(t, conn, "SELECT count() FROM busy"); n != 2*inserts*size {
		t.Errorf("%d rows, want %d", n, 2*inserts*size)
	}
}

// child is a front in a process of its own.
type child struct {
	addr  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

func startChild(t *testing.T, dir string) *child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "CHFRONT_TEST_SERVE="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the child gave no address: %v", err)
	}
	return &child{addr: strings.TrimSpace(line), cmd: cmd, stdin: stdin}
}

func (c *child) stop(t *testing.T) {
	t.Helper()
	_ = c.stdin.Close()
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the child did not end cleanly: %v", err)
	}
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func TestRestartAndKillKeepData(t *testing.T) {
	dir := t.TempDir()
	first := startChild(t, dir)
	conn := connect(t, first.addr)
	for _, ddl := range []string{
		"CREATE DATABASE sales", "CREATE TABLE sales.rows (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100",
		"CREATE TABLE plain (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100000", "CREATE VIEW plain_view AS SELECT count() AS n FROM plain",
	} {
		if err := conn.Exec(t.Context(), ddl); err != nil {
			t.Fatal(err)
		}
	}
	if err := insertNumbers(t, conn, "sales.rows", "t-1", 0, 1000); err != nil {
		t.Fatal(err)
	}
	first.stop(t)

	second := startChild(t, dir)
	conn = connect(t, second.addr)
	if n := count(t, conn, "SELECT count() FROM sales.rows"); n != 1000 {
		t.Fatalf("after a clean restart there are %d rows", n)
	}
	if err := insertNumbers(t, conn, "sales.rows", "t-1", 0, 1000); err != nil {
		t.Fatal(err)
	}
	if n := count(t, conn, "SELECT count() FROM sales.rows"); n != 1000 {
		t.Errorf("a token from before the restart is forgotten: %d rows", n)
	}

	// Inserts run while the process is killed: everything acknowledged must be
	// there, and of the one in flight all or nothing.
	const size = 100
	acknowledged := make(chan uint64, 100_000)
	go func() {
		defer close(acknowledged)
		for i := uint64(0); ; i++ {
			if err := insertNumbers(t, conn, "plain", fmt.Sprint("kill-", i), i*size, size); err != nil {
				return
			}
			acknowledged <- i
		}
	}()
	last := uint64(0)
	for last < 25 {
		last = <-acknowledged
	}
	second.kill()
	for i := range acknowledged {
		last = i
	}

	third := startChild(t, dir)
	defer third.stop(t)
	conn = connect(t, third.addr)
	lost := count(t, conn, "SELECT count() FROM numbers(?) WHERE number NOT IN (SELECT a FROM plain)", (last+1)*size)
	if lost != 0 {
		t.Errorf("%d acknowledged rows are gone after kill -9", lost)
	}
	if n := count(t, conn, "SELECT n FROM plain_view"); n%size != 0 || n < (last+1)*size || n > (last+2)*size {
		t.Errorf("%d rows after %d acknowledged inserts of %d", n, last+1, size)
	}
	if n := count(t, conn, "SELECT count() FROM sales.rows"); n != 1000 {
		t.Errorf("%d rows in sales.rows after kill -9", n)
	}
	// A sink that does not know which inserts arrived sends them again under
	// their tokens, the one in flight too: each row is there once.
	for i := range last + 2 {
		if err := insertNumbers(t, conn, "plain", fmt.Sprint("kill-", i), i*size, size); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, conn, "SELECT count() FROM plain"); n != (last+2)*size {
		t.Errorf("%d rows after sending all again, want %d", n, (last+2)*size)
	}
}
