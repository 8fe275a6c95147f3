package embedded_test

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"syncline/deploy/embedded"
)

// ask sends a request to a platform's server and gives status and text.
func ask(t *testing.T, method, url, body string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		} else {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// TestPlatformKeepsToItself: every HTTP listener refuses pages of a browser,
// ClickHouse needs a password that is in no command line and no log, and SQL that
// gets past all rules for statements still reaches no file.
func TestPlatformKeepsToItself(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	t.Setenv("SYNCLINE_REGISTRY_PASSWORD", "hushhush in the environment")
	p := start(t, dir)
	house := "http://" + p.ClickHouseAddr() + "/"
	for _, url := range []string{house + "?query=SELECT+1", p.RegistryURL() + "/subjects"} {
		for name, headers := range map[string][]string{
			"a name pointed here": {"Host", "evil.example"}, "another site's script": {"Origin", "https://evil.example"},
			"another site's picture": {"Sec-Fetch-Site", "cross-site"}, "another port's page": {"Origin", "http://localhost:3000", "Sec-Fetch-Site", "same-site"},
		} {
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
				if status, text := ask(t, method, url, "", headers...); status != http.StatusForbidden && status != http.StatusMisdirectedRequest || strings.Contains(text, "DB::Exception") {
					t.Errorf("%s, %s of %s: %d %s", name, method, url, status, text)
				}
			}
		}
	}
	if status, text := ask(t, http.MethodPost, house, "SELECT 1"); status != http.StatusForbidden || !strings.Contains(text, "516") {
		t.Errorf("without a login: %d %s", status, text)
	}

	credentials, _ := p.Credentials()
	other, err := embedded.ReadCredentials(dir)
	if err != nil || other != credentials || credentials.Writer.Password == credentials.Reader.Password || len(credentials.Reader.Password) < 20 {
		t.Errorf("another process reads other credentials, or weak ones: %v", err)
	}
	for _, name := range []string{embedded.WriterName, embedded.ReaderName} {
		if info, err := os.Stat(filepath.Join(dir, "credentials", name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file of %s: %v, %v", name, info, err)
		}
	}

	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("hushhush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	made := filepath.Join(outside, "made")
	writer := []string{"X-ClickHouse-User", credentials.Writer.Name, "X-ClickHouse-Key", credentials.Writer.Password}
	for _, statement := range []string{
		"SELECT arrayMap(file, ['$SECRET'])", "SELECT * APPLY file FROM (SELECT '$SECRET')", `SELECT "fi\x6ce"('$SECRET')`,
		`SELECT * FROM format(JSONEachRow, 'a String, b String DEFAULT file(\'$SECRET\')', '{"a":"x"}')`,
		`SELECT b FROM generateRandom('a Int8, b String ALIAS file(\'$SECRET\')') LIMIT 1`,
		"SELECT * FROM (SELECT arrayMap(file, ['/proc/self/environ', '$DIR/credentials/" + embedded.WriterName + "']))",
		"INSERT INTO FUNCTION null('a String') SELECT file('$SECRET')", "INSERT INTO FUNCTION null('a String') SELECT 1 INTO/**/OUTFILE '$MADE'",
		"SELECT arrayMap(file, ['/etc/passwd'])", "SELECT arrayMap(file, ['/proc/self/root/etc/passwd'])", "SELECT arrayMap(file, ['/proc/self/cwd/../../../../etc/passwd'])",
		"SELECT arrayMap(file, ['/proc/$PID/environ'])", "SELECT arrayMap(file, ['/proc/$BROKER/environ'])",
		"SELECT arrayMap(file, ['/proc/self/mem'])", "SELECT arrayMap(file, ['/proc/self/environ'])",
	} {
		statement = strings.NewReplacer("$SECRET", secret, "$DIR", dir, "$MADE", made,
			"$PID", strconv.Itoa(os.Getpid()), "$BROKER", strconv.Itoa(p.Pids()[embedded.BrokerName])).Replace(statement)
		if status, text := ask(t, http.MethodPost, house, statement, writer...); strings.Contains(text, "hushhush") || status == http.StatusOK {
			t.Errorf("%s: %d %q", statement, status, text)
		}
	}
	if _, err := os.Stat(made); err == nil {
		t.Error("a file was made")
	}

	lines, err := exec.CommandContext(t.Context(), "ps", "axeww", "-o", "args").Output()
	if err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	shown.Write(lines)
	for _, pattern := range []string{"logs/*.log", "platform.json", "clickhouse/*.xml"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			shown.Write(text)
		}
	}
	for _, password := range []string{credentials.Writer.Password, credentials.Reader.Password} {
		if strings.Contains(shown.String(), password) {
			t.Error("a password is in a command line, an environment, a log or a state file")
		}
	}
}

// TestCredentialsFiles: they stay over a restart, a lost one is made anew, and one
// that others may read is not used.
func TestCredentialsFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := embedded.ReadCredentials(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before any start: %v", err)
	}
	first := start(t, dir)
	before, _ := first.Credentials()
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "credentials", embedded.ReaderName)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := start(t, dir)
	after, _ := second.Credentials()
	if after.Writer != before.Writer || after.Reader == before.Reader {
		t.Error("the restart did not keep the writer's password, or did not replace the lost one")
	}
	if err := second.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() error{
		"others may read": func() error { return os.Chmod(path, 0o644) },
		"holds no password": func() error {
			return errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte(" \n"), 0o600))
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if _, err := embedded.Start(t.Context(), embedded.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
