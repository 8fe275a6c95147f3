package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// leaves are the command lines of every command, by name; a command that is not
// here fails the test below. Those that start the platform are tested where there
// is one.
func leaves(dir string) map[string][][]string {
	schema := filepath.Join(dir, "schema.avsc")
	return map[string][][]string{
		"demo": nil, "up": nil, // see benchmarks/endtoend
		"run": {{"run"}, {"run", "--parts", "hops"}}, "doctor": {{"doctor"}}, "query": {{"query", "SELECT 1"}}, "connect-info": {{"connect-info"}},
		"verify": {{"verify", "--recording", "debezium-tryton"}}, "load": {{"load", "debezium-tryton"}}, "generate": {{"generate", "--accounts", "2"}},
		"catalog lint": {{"catalog", "lint", "--against-registry"}}, "catalog schema": {{"catalog", "schema"}},
		"registry subjects": {{"registry", "subjects"}}, "registry show": {{"registry", "show", "1"}}, "registry check": {{"registry", "check", "a", schema}},
		"feeds accept": {{"feeds", "accept", "cdc.crm.public.party_party", "--column-gone", "name"}},
		"feeds sweep":  {{"feeds", "sweep", "cdc.crm.public.party_party"}, {"feeds", "sweep", "cdc.crm.public.party_party", "--apply", "0a1b2c"}},
		"feeds skip":   {{"feeds", "skip", "cdc.crm.public.party_party", "0", "0"}},
		"rebuild":      {{"rebuild", "all"}, {"rebuild", "order"}},
		"letters list": {{"letters", "list"}}, "letters show": {{"letters", "show"}}, "letters redrive": {{"letters", "redrive", "--all"}}, "letters discard": {{"letters", "discard", "--all"}},
		"replay": {{"replay", "cdc.crm.public.party_party"}}, "instructions list": {{"instructions", "list"}},
		"help": {{"help"}, {"help", "run"}}, "completion bash": nil, "completion zsh": nil, "completion fish": nil, "completion powershell": nil,
	}
}

func eachLeaf(c *cobra.Command, path string, do func(string)) {
	for _, sub := range c.Commands() {
		name := strings.TrimSpace(path + " " + sub.Name())
		if sub.HasSubCommands() {
			eachLeaf(sub, name, do)
			continue
		}
		do(name)
	}
}

// echo is a server that tells whoever asks all that it was sent.
func echo(t *testing.T, status int) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		login, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.Header.Get("Authorization"), "Basic "))
		w.WriteHeader(status)
		fmt.Fprintf(w, "you sent %s %s %v %s", r.Method, r.URL, r.Header["X-Clickhouse-Key"], login)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// TestNoSecretIsShown plants a secret in every setting that may hold one, and in
// every address, and reads all that every command prints and logs.
func TestNoSecretIsShown(t *testing.T) {
	const planted = "hunter2/%&\"é"
	secret := func(name string) string { return "s3cr3t-" + name + planted }
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "schema.avsc"), []byte(`{"type":"record","name":"a","fields":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := leaves(dir)
	root := (&app{printer: newPrinter(&strings.Builder{}, &strings.Builder{})}).root()
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	eachLeaf(root, "", func(name string) {
		if _, known := cases[name]; !known {
			t.Errorf("no case for the command %q", name)
		}
	})
	run := func(t *testing.T, args ...string) string {
		t.Helper()
		var out, errs strings.Builder
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		Run(ctx, args, strings.NewReader(""), &out, &errs)
		all := out.String() + errs.String()
		for _, trace := range []string{"s3cr3t-", "hunter2"} {
			if i := strings.Index(all, trace); i >= 0 {
				t.Errorf("%v shows %q:\n%s", args, all[max(0, i-60):min(len(all), i+80)], all)
			}
		}
		return all
	}
	types := reflect.TypeFor[Settings]()
	secrets := 0
	for i := range types.NumField() {
		if types.Field(i).Type == reflect.TypeFor[Secret]() {
			secrets++
			t.Setenv(envPrefix+strings.ToUpper(types.Field(i).Tag.Get("koanf")), secret(types.Field(i).Name))
		}
	}
	if secrets < 2 {
		t.Fatalf("%d secrets among the settings", secrets)
	}
	t.Setenv("SYNCLINE_DATA_DIR", dir)
	t.Setenv("SYNCLINE_LOG_LEVEL", "debug")
	for _, status := range []int{http.StatusUnauthorized, http.StatusInternalServerError} {
		server := echo(t, status)
		t.Setenv("SYNCLINE_BROKERS", "127.0.0.1:1")
		t.Setenv("SYNCLINE_CLICKHOUSE", server)
		for _, registry := range []string{"http://" + server, "http://s3cr3t-user:s3cr3t-hunter2%2F@" + server} {
			t.Setenv("SYNCLINE_REGISTRY_URL", registry)
			user := strings.Contains(registry, "@")
			if user {
				os.Unsetenv("SYNCLINE_REGISTRY_PASSWORD")
			}
			for name, lines := range cases {
				for _, line := range lines {
					t.Run(fmt.Sprintf("%d %s %t", status, name, user), func(t *testing.T) {
						run(t, line...)
						if status == http.StatusInternalServerError {
							run(t, append(line, "-o", "json")...)
						}
					})
				}
			}
			t.Setenv("SYNCLINE_REGISTRY_PASSWORD", secret("again"))
		}
	}
	// Where a setting cannot be used, what is wrong is said without its value.
	config := filepath.Join(dir, "config.yaml")
	for text, word := range map[string]string{
		"registry_password: [s3cr3t-hunter2]\n":                          "registry_password",
		"registry_password: {a: s3cr3t-hunter2}\n":                       "registry_password",
		"registry_password: s3cr3t-hunter2: x\n":                         "YAML",
		"registry_password: \"s3cr3t-hunter2\n":                          "YAML",
		"slot: s3cr3t-hunter2\n":                                         "slot",
		"flush_interval: s3cr3t-hunter2\n":                               "flush_interval",
		"registry_url: \"s3cr3t-user:s3cr3t-hunter2@host\"\n":            "registry_url",
		"registry_url: \"http://s3cr3t-user:s3cr3t-hunter2@ho st:1\"\n":  "registry_url",
		"registry_url: \"http://s3cr3t-user:s3cr3t-hunter2@host:99999\"": "registry",
		"brokers: [\"s3cr3t-user:s3cr3t-hunter2@host:9092\"]\n":          "brokers",
		"clickhouse: \"http://s3cr3t-user:s3cr3t-hunter2@host:8123\"\n":  "clickhouse",
		"s3cr3t: hunter\n": "",
	} {
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"SYNCLINE_REGISTRY_PASSWORD", "SYNCLINE_REGISTRY_URL", "SYNCLINE_BROKERS", "SYNCLINE_CLICKHOUSE"} {
			os.Unsetenv(name)
		}
		if all := run(t, "registry", "subjects", "--config", config); !strings.Contains(all, word) || !strings.Contains(all, "error") {
			t.Errorf("%s: %s", strings.TrimSpace(text), all)
		}
	}
}

// TestFilesThatAreNone: a pipe, a folder, a device or a huge file as configuration
// or catalog is an error at once.
func TestFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	huge := filepath.Join(dir, "huge")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 1<<40); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	makePipe(t, pipe)
	for _, file := range []string{pipe, dir, "/dev/zero", huge, filepath.Join(dir, "none")} {
		for _, args := range [][]string{
			{"doctor", "--config", file}, {"catalog", "lint", file}, {"run", "--catalog", file}, {"registry", "check", "a", file}, {"verify", "--truth", file},
		} {
			if file == huge && args[0] == "verify" {
				continue // books may be large: they are read as they come
			}
			var out, errs strings.Builder
			begun := time.Now()
			exit := Run(t.Context(), args, strings.NewReader(""), &out, &errs)
			if took := time.Since(begun); exit != ExitInput || !strings.Contains(errs.String(), file) || took > time.Second {
				t.Errorf("%v: exit %d after %s: %s", args, exit, took, errs.String())
			}
		}
	}
}
