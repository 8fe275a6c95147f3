package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"syncline/deploy/embedded/sandbox"
)

// plan is what a process in the sandbox tries; it comes through the kept file.
type plan struct {
	Folder, Readable, Secret, Address string
	Landlock                          uintptr // the kernel's version of it
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "inside" {
		os.Exit(inside())
	}
	if folder := os.Getenv("SANDBOX_TEST_PLAN"); folder != "" {
		var p plan
		err := json.Unmarshal([]byte(folder), &p)
		r, w, e := os.Pipe()
		if err = errors.Join(err, e); err == nil {
			_, err = w.WriteString(folder)
			err = errors.Join(err, w.Close(),
				sandbox.Exec(sandbox.Reach{Write: []string{p.Folder}, Read: []string{p.Readable, "/nowhere", "/proc/self/maps"}, Environment: []string{"GIVEN=1"}, Keep: r}, []string{"inside", fmt.Sprint(r.Fd())}))
		}
		fmt.Fprintln(os.Stderr, err)
		if errors.Is(err, sandbox.ErrUnavailable) {
			os.Exit(77)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// inside does what it may and tries what it may not.
func inside() int {
	var number uintptr
	var p plan
	if _, err := fmt.Sscan(os.Args[2], &number); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	raw, err := io.ReadAll(os.NewFile(number, "plan"))
	if err := errors.Join(err, json.Unmarshal(raw, &p)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	failed := 0
	may := func(what string, err error) {
		if err != nil {
			failed++
			fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		}
	}
	mayNot := func(what string, err error) {
		if err == nil || !errors.Is(err, os.ErrPermission) {
			failed++
			fmt.Fprintf(os.Stderr, "%s: %v, want permission denied\n", what, err)
		}
	}
	own := filepath.Join(p.Folder, "sub")
	may("making a folder", os.Mkdir(own, 0o700))
	may("writing", os.WriteFile(filepath.Join(own, "a"), []byte("x"), 0o600))
	may("renaming", os.Rename(filepath.Join(own, "a"), filepath.Join(p.Folder, "b")))
	may("truncating", os.Truncate(filepath.Join(p.Folder, "b"), 0))
	_, err = os.ReadFile(p.Readable)
	may("reading what is given", err)
	mayNot("writing what is given", os.WriteFile(p.Readable, nil, 0o600))
	_, err = os.ReadFile(p.Secret)
	mayNot("reading elsewhere", err)
	if len(os.Environ()) != 1 || os.Getenv("GIVEN") != "1" {
		failed++
		fmt.Fprintln(os.Stderr, "the environment is", os.Environ())
	}
	_, err = os.ReadFile("/proc/self/maps")
	may("reading what is given of /proc", err)
	_, err = os.ReadFile("/proc/self/environ")
	mayNot("reading the environment of a process", err)
	_, err = os.ReadDir("/")
	mayNot("listing elsewhere", err)
	mayNot("writing elsewhere", os.WriteFile(p.Secret+".new", nil, 0o600))
	if p.Landlock >= 3 {
		mayNot("truncating elsewhere", os.Truncate(p.Secret, 0))
	}
	mayNot("removing elsewhere", os.Remove(p.Secret))
	script := filepath.Join(p.Folder, "script")
	may("writing a script", os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700)) //nolint:gosec // a program
	mayNot("running it", exec.Command(script).Run())                            //nolint:gosec // a test
	if p.Landlock >= 4 {
		c, err := net.Dial("tcp", p.Address)
		if err == nil {
			_ = c.Close()
		}
		mayNot("connecting", err)
	}
	return failed
}

func TestExec(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dir := t.TempDir()
	p := plan{Folder: t.TempDir(), Readable: filepath.Join(dir, "readable"), Secret: filepath.Join(dir, "secret"), Address: listener.Addr().String()}
	for _, path := range []string{p.Readable, p.Secret} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.Landlock, _, _ = unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self) //nolint:gosec // the test binary
	cmd.Env = append(os.Environ(), "SANDBOX_TEST_PLAN="+string(raw))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() == 77 {
		t.Skipf("not on this kernel: %s", out)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
