package endtoend

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"syncline/pipelines/cli"
)

// upProcess is `syncline up` as a process that leads a group of its own.
type upProcess struct {
	t     *testing.T
	cmd   *exec.Cmd
	dir   string
	out   string // name of the file with what it said
	ended chan error
}

// startUp begins `up` over dir and does not wait.
func startUp(t *testing.T, dir string, args ...string) *upProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() // the child has it
	u := &upProcess{t: t, dir: dir, out: out.Name(), ended: make(chan error, 1)}
	u.cmd = exec.Command(self, append([]string{"up", "--data-dir", dir}, args...)...) //nolint:gosec // the test binary
	u.cmd.Env = append(os.Environ(), asCommand+"=1")
	u.cmd.Stdout, u.cmd.Stderr = out, out
	u.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { u.ended <- u.cmd.Wait() }()
	t.Cleanup(func() { _ = syscall.Kill(-u.cmd.Process.Pid, syscall.SIGKILL) })
	return u
}

func (u *upProcess) said() string {
	text, err := os.ReadFile(u.out)
	if err != nil {
		u.t.Fatal(err)
	}
	return string(text)
}

// waitSaid waits until it has said something.
func (u *upProcess) waitSaid(what string) {
	u.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(u.said(), what); {
		select {
		case err := <-u.ended:
			u.t.Fatalf("ended (%v) before it said %q:\n%s", err, what, u.said())
		case <-tick.C:
		}
		if time.Now().After(deadline) {
			u.t.Fatalf("did not say %q within two minutes:\n%s\n%s", what, u.said(), u.where())
		}
	}
}

// where gives the stacks of a process that does not go on, and of those below it.
func (u *upProcess) where() string {
	stacks := map[string]int{u.out: len(u.said())}
	logs, _ := filepath.Glob(filepath.Join(u.dir, "logs", "*.log")) // the pattern is a good one
	for _, name := range logs {
		if info, err := os.Stat(name); err == nil {
			stacks[name] = int(info.Size())
		}
	}
	all := tree(u.cmd.Process.Pid)
	slices.Reverse(all) // a parent ends what is below it
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGQUIT) // it may have ended
		pause(time.Second)
	}
	var b strings.Builder
	for name, from := range stacks {
		if text, err := os.ReadFile(name); err == nil && len(text) > from {
			fmt.Fprintf(&b, "==== %s\n%.40000s\n", name, text[from:])
		}
	}
	return b.String()
}

// isUp is the last that it says when it is ready.
const isUp = "Stop with Ctrl-C."

// end sends a signal, to the whole group or to the parent alone, and waits.
func (u *upProcess) end(how syscall.Signal, group bool) error {
	u.t.Helper()
	to := u.cmd.Process.Pid
	if group {
		to = -to
	}
	if err := syscall.Kill(to, how); err != nil {
		u.t.Fatal(err)
	}
	return u.wait()
}

func (u *upProcess) wait() error {
	u.t.Helper()
	select {
	case err := <-u.ended:
		return err
	case <-time.After(time.Minute):
		u.t.Fatalf("still running a minute later:\n%s", u.said())
		return nil
	}
}

// TestUpEndsInOrder sends the signal of a terminal and that of a service manager
// to the whole process group, and once to the parent alone: the children end
// when the parent has drained the pipelines, and nothing is started again.
func TestUpEndsInOrder(t *testing.T) {
	dir := t.TempDir()
	for _, how := range []struct {
		name   string
		signal syscall.Signal
		group  bool
	}{
		{"interrupt of the group", syscall.SIGINT, true},
		{"termination of the group", syscall.SIGTERM, true},
		{"termination of the parent", syscall.SIGTERM, false},
		{"end of the terminal, for the group", syscall.SIGHUP, true},
		{"end of the terminal, for the parent", syscall.SIGHUP, false},
	} {
		u := startUp(t, dir)
		u.waitSaid(isUp)
		if err := u.end(how.signal, how.group); err != nil || strings.Contains(u.said(), "again") || strings.Contains(u.said(), "did not end cleanly") {
			t.Errorf("%s: %v\n%s", how.name, err, u.said())
		}
	}
}

// TestUpPorts: a default port that is taken yields to the next free one, one that
// was asked for does not, and several platforms start at once.
func TestUpPorts(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:9092")
	if err == nil { // else somebody else has it
		defer other.Close()
	}
	first, second := startUp(t, t.TempDir()), startUp(t, t.TempDir())
	for _, u := range []*upProcess{first, second} {
		u.waitSaid(isUp)
		u.waitSaid("port 9092 is taken by another program: broker listens on 9")
	}
	mine, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	port := fmt.Sprint(mine.Addr().(*net.TCPAddr).Port)
	for _, flag := range []string{"--kafka-port", "--registry-port", "--clickhouse-port"} {
		u := startUp(t, t.TempDir(), flag, port)
		if err := u.wait(); err == nil || u.cmd.ProcessState.ExitCode() != cli.ExitEnvironment ||
			!strings.Contains(u.said(), "platform.port") || !strings.Contains(u.said(), flag) || !strings.Contains(u.said(), port) {
			t.Errorf("%s %s: %v\n%s", flag, port, err, u.said())
		}
	}
	for _, u := range []*upProcess{first, second} {
		if err := u.end(syscall.SIGTERM, false); err != nil {
			t.Errorf("%v\n%s", err, u.said())
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
