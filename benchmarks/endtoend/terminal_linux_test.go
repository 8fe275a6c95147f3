package endtoend

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestUpEndsWithItsTerminal closes the terminal in which `up` runs, as a window or
// a connection does: a second start finds a clean end.
func TestUpEndsWithItsTerminal(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i := range 2 {
		control, terminal := openTerminal(t)
		cmd := exec.Command(self, "up", "--data-dir", dir) //nolint:gosec // the test binary
		cmd.Env = append(os.Environ(), asCommand+"=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = terminal.Close() // the child has it
		said := make(chan string, 1000)
		go func() {
			lines := bufio.NewScanner(control)
			for lines.Scan() {
				said <- lines.Text()
			}
			close(said)
		}()
		deadline := time.After(2 * time.Minute)
		for up := false; !up; {
			select {
			case line, open := <-said:
				if !open || strings.Contains(line, "did not end cleanly") {
					t.Fatalf("start %d: %q", i+1, line)
				}
				up = strings.Contains(line, isUp)
			case <-deadline:
				_ = cmd.Process.Kill()
				t.Fatal("not up after two minutes")
			}
		}
		if err := control.Close(); err != nil { // the kernel hangs up
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("start %d: %v", i+1, err)
			}
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			t.Fatal("still running a minute after its terminal was closed")
		}
	}
}

// openTerminal makes a pseudo terminal.
func openTerminal(t *testing.T) (control, terminal *os.File) {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := control.SyscallConn() // Fd would keep Close from waking the reader
	if err != nil {
		t.Fatal(err)
	}
	var number int
	var failed error
	if err := raw.Control(func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed == nil {
			number, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return control, terminal
}
