package cli

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// An act needs the hash of the plan that was shown, or somebody who says yes.
func TestNothingIsDoneUnagreed(t *testing.T) {
	for _, c := range []struct {
		name, apply, format string
		agreed              bool
		said, code          string
	}{
		{"nobody to ask", "", "table", false, "syncline feeds skip t 0 7 --apply 5eed", ""},
		{"a program asks for the plan", "", "json", false, "--apply 5eed", ""},
		{"this plan", "5eed", "table", true, "", ""},
		{"another plan", "0dd", "table", false, "", "feeds.skip.plan_changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			a := &app{printer: &printer{out: &out, err: &out, format: c.format}, in: strings.NewReader("yes\n")}
			agreed, err := a.agree("feeds skip", "syncline feeds skip t 0 7", "t/0 goes on at 7", "5eed", c.apply, map[string]int{}, Table{})
			var refused *Failure
			if errors.As(err, &refused); agreed != c.agreed || (refused == nil) != (c.code == "") || refused != nil && refused.Code != c.code {
				t.Errorf("agreed %v, error %v", agreed, err)
			}
			if !strings.Contains(out.String(), c.said) || agreed && out.Len() > 0 {
				t.Errorf("said %q", out.String())
			}
		})
	}
}

// Nobody is asked who cannot answer: an act that is given by a program shows its
// plan and the hash.
func TestNobodyIsAskedBehindDevNull(t *testing.T) {
	fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	stdin := os.NewFile(uintptr(fd), "/dev/stdin") //nolint:gosec // not negative
	defer stdin.Close()
	if a := (&app{printer: &printer{}, in: stdin}); a.asks() {
		t.Error("somebody is asked")
	}
}

// The commands that messages name as the way on are there.
func TestCommandsThatMessagesName(t *testing.T) {
	for _, line := range []string{"feeds skip t 0 7", "feeds accept t", "feeds sweep t", "letters list", "letters redrive x", "letters discard x", "replay t", "instructions list", "rebuild all", "rebuild order", "doctor", "connect-info", "up", "verify"} {
		words := strings.Fields(line)
		c, _, err := (&app{printer: &printer{}}).root().Find(words)
		if err != nil || !strings.HasPrefix(line, strings.TrimPrefix(c.CommandPath(), "syncline ")) || c.CommandPath() == "syncline" {
			t.Errorf("%s: %v, %v", line, c.CommandPath(), err)
		}
	}
}

// A plan whose reach is said in its sentence shows no empty table.
func TestNoTableIsNoLine(t *testing.T) {
	var out strings.Builder
	Table{}.write(&out)
	if out.Len() > 0 {
		t.Errorf("%q", out.String())
	}
}
