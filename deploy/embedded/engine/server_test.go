package engine

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A real server is not at hand in tests: this program, started in its place,
// reads the written configuration and answers as the server would.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "server" {
		raw, err := os.ReadFile(strings.TrimPrefix(os.Args[2], "--config-file="))
		var c struct {
			Port int    `xml:"http_port"`
			Host string `xml:"listen_host"`
		}
		if err == nil {
			err = xml.Unmarshal(raw, &c)
		}
		if err == nil {
			err = http.ListenAndServe(fmt.Sprintf("%s:%d", c.Host, c.Port), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})) //nolint:gosec // a test
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestStartServer(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "a & b")
	s, err := StartServer(t.Context(), self, Config{Dir: dir}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := ping(t.Context(), s.Addr); err != nil {
		t.Error(err)
	}
	s.Stop()
	<-s.Done()
	if err := ping(t.Context(), s.Addr); err == nil {
		t.Error("the server still answers after Stop")
	}
}

func TestStartServerReportsAnEarlyEnd(t *testing.T) {
	if _, err := StartServer(t.Context(), "/bin/false", Config{Dir: t.TempDir()}, 0); err == nil || !strings.Contains(err.Error(), "ended while starting") {
		t.Errorf("error is %v", err)
	}
}
