package endtoend

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"syncline/deploy/embedded"
)

// TestUpShowsNoPassword reads all that `up` and its children print and log, with
// every detail, and what other commands print about the same platform.
func TestUpShowsNoPassword(t *testing.T) {
	dir := t.TempDir()
	u := startUp(t, dir, "--log-level", "debug", "--kafka-port", "0", "--registry-port", "0", "--clickhouse-port", "0")
	u.waitSaid(isUp)
	w, plain := &world{t: t}, append(os.Environ(), asCommand+"=1")
	texts := map[string]string{}
	for _, args := range [][]string{{"doctor"}, {"connect-info"}, {"query", "SELECT name, value FROM system.settings"}, {"query", "SELECT currentUser("}} {
		out, errs, _ := w.run(plain, append(args, "--data-dir", dir, "--log-level", "debug")...)
		texts[strings.Join(args, " ")] = out + errs
	}
	c, err := embedded.ReadCredentials(dir)
	if err != nil {
		t.Fatal(err)
	}
	if out, _, _ := w.run(plain, "connect-info", "--show-password", "--data-dir", dir); !strings.Contains(out, c.Reader.Password) {
		t.Errorf("connect-info --show-password does not show it:\n%s", out)
	}
	if err := u.end(syscall.SIGTERM, false); err != nil {
		t.Error(err)
	}
	texts["the terminal"] = u.said()
	logs, err := filepath.Glob(filepath.Join(dir, "logs", "*"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no logs to read: %v", err)
	}
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	for place, text := range texts {
		for _, password := range []string{c.Writer.Password, c.Reader.Password} {
			if len(password) < 8 || strings.Contains(text, password) {
				t.Errorf("%s shows a password of the embedded ClickHouse", place)
			}
		}
	}
}
