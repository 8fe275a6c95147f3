package registry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"syncline/schemas/registry"
)

const (
	userV1 = `{"type":"record","name":"User","namespace":"t","fields":[{"name":"id","type":"long"}]}`
	userV2 = `{"type":"record","name":"User","namespace":"t","fields":[{"name":"id","type":"long"},{"name":"email","type":["null","string"],"default":null}]}`
	userV3 = `{"type":"record","name":"User","namespace":"t","fields":[{"name":"id","type":"long"},{"name":"age","type":"int"}]}`
)

func newServer(t *testing.T, cfg registry.Config) *registry.Server {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = registry.NewMemoryLog()
	}
	cfg.RefreshEvery = -1
	s, err := registry.NewServer(t.Context(), cfg)
	if err != nil {
		t.Fatalf("starting the server: %v", err)
	}
	return s
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// ask sends one request straight to a handler and gives status and body.
func ask(t *testing.T, h http.Handler, method, target, body string) (int, string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	out, err := io.ReadAll(rec.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return rec.Code, string(out)
}

func schemaBody(t *testing.T, schema string) string {
	t.Helper()
	b, err := json.Marshal(map[string]string{"schema": schema})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// mustRegister registers and gives the id.
func mustRegister(t *testing.T, h http.Handler, subject, schema string) int {
	t.Helper()
	status, body := ask(t, h, "POST", "/subjects/"+subject+"/versions", schemaBody(t, schema))
	var answer struct{ ID int }
	if status != 200 || json.Unmarshal([]byte(body), &answer) != nil || answer.ID == 0 {
		t.Fatalf("registering in %s: %d %s", subject, status, body)
	}
	return answer.ID
}

func errorCode(t *testing.T, body string) int {
	t.Helper()
	var answer struct {
		Code    int    `json:"error_code"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Message == "" {
		t.Fatalf("not an error answer: %s", body)
	}
	return answer.Code
}

var errBroken = errors.New("the log is broken")

// faultyLog is a log whose appends and reads can be made to go wrong.
type faultyLog struct {
	registry.Log
	mu       sync.Mutex
	onAppend func(key, value []byte) (lands bool, err error)
	readErr  error
}

func (l *faultyLog) Append(ctx context.Context, key, value []byte) error {
	l.mu.Lock()
	hook := l.onAppend
	l.mu.Unlock()
	if hook != nil {
		lands, err := hook(bytes.Clone(key), bytes.Clone(value))
		if lands {
			if err := l.Log.Append(ctx, key, value); err != nil {
				return err
			}
		}
		return err
	}
	return l.Log.Append(ctx, key, value)
}

func (l *faultyLog) Read(ctx context.Context, from int64, fn func(key, value []byte) error) (int64, error) {
	l.mu.Lock()
	err := l.readErr
	l.mu.Unlock()
	if err != nil {
		return from, err
	}
	return l.Log.Read(ctx, from, fn)
}

func (l *faultyLog) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}
