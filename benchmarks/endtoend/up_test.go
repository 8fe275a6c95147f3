package endtoend

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"syncline/pipelines/cli"
)

// TestUpEndsInOrder sends the signal of a terminal and that of a service manager
// to the whole process group, and once to the parent alone: the children end
// when the parent has drained the pipelines, and nothing is started again.
func TestUpEndsInOrder(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const up = "Stop with Ctrl-C."
	for _, how := range []struct {
		name   string
		signal syscall.Signal
		group  bool
	}{{"interrupt of the group", syscall.SIGINT, true}, {"termination of the group", syscall.SIGTERM, true}, {"termination of the parent", syscall.SIGTERM, false}} {
		out, err := os.CreateTemp(dir, "out")
		if err != nil {
			t.Fatal(err)
		}
		said := func() string {
			text, err := os.ReadFile(out.Name())
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		cmd := exec.Command(self, "up", "--data-dir", dir) //nolint:gosec // the test binary
		cmd.Env = append(os.Environ(), asCommand+"=1")
		cmd.Stdout, cmd.Stderr = out, out
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = out.Close() // the child has it
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		begun := time.Now()
		tick := time.NewTicker(50 * time.Millisecond)
		for !strings.Contains(said(), up) {
			if <-tick.C; time.Since(begun) > time.Minute {
				_ = cmd.Process.Kill()
				t.Fatalf("%s: not up after a minute:\n%s", how.name, said())
			}
		}
		tick.Stop()
		to := cmd.Process.Pid
		if how.group {
			to = -to
		}
		if err := syscall.Kill(to, how.signal); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if err != nil || strings.Contains(said(), "again") {
				t.Errorf("%s: %v\n%s", how.name, err, said())
			}
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
			t.Fatalf("%s: still running after 30 s:\n%s", how.name, said())
		}
	}
}

// TestVerifyAwaitsThePipelines: whoever loads and verifies at once is told the
// truth about the pipelines, not that all is missing.
func TestVerifyAwaitsThePipelines(t *testing.T) {
	w := newWorld(t, "tryton")
	verify := func(when, name string, exit int, want string) {
		t.Helper()
		if out, errs, got := w.command("verify", "--recording", name); got != exit || !strings.Contains(out+errs, want) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s%s", when, got, exit, want, out, errs)
		}
	}
	w.load("debezium-tryton", 0)
	verify("before they ever ran", "debezium-tryton", 3, "were the pipelines ever run?")
	p := w.start()
	p.wait("the first report", time.Minute, func(cli.Progress) bool { return true })
	verify("while they work", "debezium-tryton", 0, "no difference")
	p.term()
	verify("after they have ended", "debezium-tryton", 0, "no difference")
	w.load("debezium-tryton-2", 0)
	verify("with work that nobody does", "debezium-tryton-2", 3, "verify.no_pipelines")
}
