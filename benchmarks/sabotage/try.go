package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// sabotage is one way to break the code, and the test that must notice.
type sabotage struct {
	name  string
	what  string // is broken, in words
	edits []edit
	pkg   string // folder from the module's root
	test  string // with / where it is a part of one
}

// edit replaces a text that stands exactly once in a file.
type edit struct{ file, old, new string }

// apply returns the file's text as the sabotage has it. A text that is not there
// any more means that the code has moved on and the sabotage has to follow.
func (e edit) apply(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, e.file))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), e.old); n != 1 {
		return "", fmt.Errorf("%s has the text %d times where once is right; adapt the sabotage: %q", e.file, n, e.old)
	}
	return strings.Replace(string(text), e.old, e.new, 1), nil
}

// try returns nil if the test is red over the broken code. With healthy it is
// also asked over the code as it is, where it has to be green.
func (s sabotage) try(ctx context.Context, healthy bool) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sabotage-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	overlay, err := s.overlay(root, dir)
	if err != nil {
		return err
	}
	if healthy {
		if out, err := s.run(ctx, dir, ""); err != nil {
			return fmt.Errorf("over code that is not broken: %w\n%s", err, last(out, 600))
		}
	}
	out, err := s.run(ctx, dir, overlay)
	switch {
	case errors.Is(err, errRed):
		return nil
	case err == nil:
		return errGreen
	}
	return fmt.Errorf("%w\n%s", err, last(out, 600))
}

// overlay writes the broken files and the list that the go command takes.
func (s sabotage) overlay(root, dir string) (string, error) {
	replace := map[string]string{}
	for i, e := range s.edits {
		text, err := e.apply(root)
		if err != nil {
			return "", err
		}
		broken := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(broken, []byte(text), 0o600); err != nil {
			return "", err
		}
		if at := filepath.Join(root, e.file); replace[at] == "" {
			replace[at] = broken
		} else {
			return "", fmt.Errorf("%s is edited twice: make it one edit", e.file)
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}

var errRed = errors.New("the test failed")

// run builds the package's tests, over the overlay if there is one, and runs the
// one test: nil is green, errRed red, and all else tells nothing about the test.
func (s sabotage) run(ctx context.Context, dir, overlay string) (output string, err error) {
	binary := filepath.Join(dir, "tests")
	args := []string{"test", "-c", "-o", binary}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	if out, err := command(ctx, buildWithin, ".", "go", append(args, "./"+s.pkg)...); err != nil {
		return out, fmt.Errorf("building the tests: %w", err)
	}
	out, err := command(ctx, redWithin+10*time.Second, s.pkg, binary, "-test.run", "^"+strings.ReplaceAll(s.test, "/", "$/^")+"$", "-test.timeout", redWithin.String(), "-test.v")
	switch {
	case ctx.Err() != nil:
		return out, ctx.Err()
	case !strings.Contains(out, "=== RUN   "+s.test+"\n"):
		return out, fmt.Errorf("there is no test %s in %s", s.test, s.pkg)
	case strings.Contains(out, "--- SKIP: "+s.test):
		return out, fmt.Errorf("%s was skipped", s.test)
	case err == nil:
		return out, nil
	case strings.Contains(out, "panic: test timed out"), errors.Is(err, context.DeadlineExceeded):
		return out, errHangs
	case strings.Contains(out, "--- FAIL: "+s.test):
		return out, errRed
	}
	return out, fmt.Errorf("the test ended otherwise: %w", err)
}

func command(ctx context.Context, within time.Duration, dir, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // the go command, or the tests that it has built
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second // for what children of a killed test still hold
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return out.String(), err
}

func last(s string, n int) string { return s[max(0, len(s)-n):] }
