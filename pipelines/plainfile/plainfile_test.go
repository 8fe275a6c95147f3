package plainfile

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("good"), []byte("12345678"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at("good"), at("link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	huge, err := os.Create(at("huge"))
	if err != nil {
		t.Fatal(err)
	}
	if err := huge.Truncate(1 << 40); err != nil {
		t.Fatal(err)
	}
	_ = huge.Close()
	for _, name := range []string{"good", "link"} {
		if text, err := Read(at(name), 8); err != nil || string(text) != "12345678" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	for name, word := range map[string]string{
		at("good"): "larger than 7 bytes", at("pipe"): "named pipe", dir: "folder", at("huge"): "larger than 7 bytes", at("none"): "no such file",
		"/dev/zero": "device", "/proc/self/status": "larger than 7 bytes",
	} {
		begun := time.Now()
		_, err := Read(name, 7)
		if err == nil || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("%s: after %s", name, took)
		}
	}
}
