package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/riferrei/srclient"

	"syncline/schemas/registry"
)

func newClient(t *testing.T, cfg registry.ClientConfig) *registry.Remote {
	t.Helper()
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = &http.Client{Transport: &http.Transport{}}
	}
	c, err := registry.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestClient(t *testing.T) {
	c := newClient(t, registry.ClientConfig{URL: serve(t, newServer(t, registry.Config{})) + "/"})
	ctx := t.Context()
	id, err := c.Register(ctx, "a/b-value", userV1)
	if err != nil || id != 1 {
		t.Fatalf("registering: %d, %v", id, err)
	}
	if text, err := c.SchemaByID(ctx, 1); err != nil || text != userV1 {
		t.Errorf("by id: %q, %v", text, err)
	}
	if ok, err := c.Compatible(ctx, "a/b-value", userV2); err != nil || !ok {
		t.Errorf("compatible: %v, %v", ok, err)
	}
	if ok, err := c.Compatible(ctx, "a/b-value", userV3); err != nil || ok {
		t.Errorf("incompatible: %v, %v", ok, err)
	}
	if _, err := c.Register(ctx, "a/b-value", userV3); !errors.Is(err, registry.ErrRejected) || !strings.Contains(err.Error(), "at age") {
		t.Errorf("registering an incompatible schema: %v", err)
	}
	if _, err := c.Register(ctx, "a/b-value", "{"); !errors.Is(err, registry.ErrRejected) {
		t.Errorf("registering nonsense: %v", err)
	}
	if id, err = c.Register(ctx, "a/b-value", userV2); err != nil || id != 2 {
		t.Errorf("registering: %d, %v", id, err)
	}
	want := registry.Version{Subject: "a/b-value", Version: 2, ID: 2, Schema: userV2}
	for name, get := range map[string]func() (registry.Version, error){
		"latest":  func() (registry.Version, error) { return c.Latest(ctx, "a/b-value") },
		"version": func() (registry.Version, error) { return c.Version(ctx, "a/b-value", 2) },
		"look up": func() (registry.Version, error) { return c.LookUp(ctx, "a/b-value", userV2) },
	} {
		if got, err := get(); err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if subjects, err := c.Subjects(ctx); err != nil || !cmp.Equal(subjects, []string{"a/b-value"}) {
		t.Errorf("subjects: %v, %v", subjects, err)
	}
	if versions, err := c.Versions(ctx, "a/b-value"); err != nil || !cmp.Equal(versions, []int{1, 2}) {
		t.Errorf("versions: %v, %v", versions, err)
	}
	for id, want := range map[int][]string{1: {userV2}, 2: nil, 77: nil} {
		if later, err := c.Later(ctx, "a/b-value", id); err != nil || !cmp.Equal(later, want) {
			t.Errorf("later than id %d: %v, %v", id, later, err)
		}
	}
	if _, err := c.Later(ctx, "none", 1); !errors.Is(err, registry.ErrRejected) {
		t.Errorf("later versions of an unknown subject: %v", err)
	}
	if err := c.SetLevel(ctx, "a/b-value", registry.LevelFull); err != nil {
		t.Errorf("setting the level: %v", err)
	}
	if level, err := c.Level(ctx, "a/b-value"); err != nil || level != registry.LevelFull {
		t.Errorf("level: %s, %v", level, err)
	}
	if _, err := c.Latest(ctx, "none"); !errors.Is(err, registry.ErrRejected) {
		t.Errorf("latest of an unknown subject: %v", err)
	}
}

// TestSrclient runs srclient as its users do, caches and all.
func TestSrclient(t *testing.T) {
	sr := srclient.NewSchemaRegistryClient(serve(t, newServer(t, registry.Config{})))
	sr.CodecCreationEnabled(true)
	made, err := sr.CreateSchema("s-value", strings.ReplaceAll(userV1, ",", ",\n  "), srclient.Avro)
	if err != nil || made.ID() != 1 {
		t.Fatalf("creating: %v", err)
	}
	if got, err := sr.GetLatestSchema("s-value"); err != nil || got.Version() != 1 || got.Codec() == nil {
		t.Errorf("latest: %v", err)
	}
	if got, err := sr.LookupSchema("s-value", userV1, srclient.Avro); err != nil || got.ID() != 1 {
		t.Errorf("look-up: %v", err)
	}
	if pairs, err := sr.GetSubjectVersionsById(1); err != nil || len(pairs) != 1 || pairs[0].Subject != "s-value" {
		t.Errorf("subjects of the id: %v, %v", pairs, err)
	}
	if level, err := sr.GetGlobalCompatibilityLevel(); err != nil || *level != srclient.Backward {
		t.Errorf("global level: %v", err)
	}
	if level, err := sr.ChangeSubjectCompatibilityLevel("s-value", srclient.FullTransitive); err != nil || *level != srclient.FullTransitive {
		t.Errorf("changing the level: %v", err)
	}
	if level, err := sr.GetCompatibilityLevel("s-value", false); err != nil || *level != srclient.FullTransitive {
		t.Errorf("level: %v", err)
	}
	if level, err := sr.DeleteSubjectCompatibilityLevel("s-value"); err != nil || *level != srclient.FullTransitive {
		t.Errorf("deleting the level: %v", err)
	}
	if ok, err := sr.IsSchemaCompatible("s-value", userV3, "latest", srclient.Avro); err != nil || ok {
		t.Errorf("check: %v, %v", ok, err)
	}
	if names, err := sr.GetSubjectsIncludingDeleted(); err != nil || len(names) != 1 {
		t.Errorf("subjects: %v, %v", names, err)
	}
	for name, err := range map[string]error{
		"delete subject": sr.DeleteSubject("s-value", true),
		"delete version": sr.DeleteSubjectByVersion("s-value", 1, false),
		"json schema":    second(sr.CreateSchema("j", `{}`, srclient.Json)),
		"references":     second(sr.CreateSchema("r", userV1, srclient.Avro, srclient.Reference{Name: "x", Subject: "s-value", Version: 1})),
	} {
		var answer srclient.Error
		if !errors.As(err, &answer) || answer.Code != 50101 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[A, B any](_ A, b B) B { return b }

// counting counts the requests that reach a handler.
func counting(h http.Handler) (http.Handler, *atomic.Int64) {
	var n atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		h.ServeHTTP(w, r)
	}), &n
}

func TestClientCaches(t *testing.T) {
	server := newServer(t, registry.Config{})
	h, requests := counting(server)
	now := time.Now()
	c := newClient(t, registry.ClientConfig{URL: serve(t, h), MaxCached: 2, Now: func() time.Time { return now }})
	expect := func(what string, id int, want error, total int64) {
		t.Helper()
		if _, err := c.SchemaByID(t.Context(), id); !errors.Is(err, want) || (want == nil && err != nil) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		if got := requests.Load(); got != total {
			t.Errorf("%s: %d requests so far, want %d", what, got, total)
		}
	}
	expect("unknown", 1, registry.ErrUnknownID, 1)
	mustRegister(t, server, "a", userV1)
	expect("still taken for unknown", 1, registry.ErrUnknownID, 1)
	now = now.Add(1999 * time.Millisecond)
	expect("just before the time is over", 1, registry.ErrUnknownID, 1)
	now = now.Add(time.Millisecond)
	expect("asked again", 1, nil, 2)
	now = now.Add(1000 * time.Hour)
	expect("known for ever", 1, nil, 2)

	expect("unknown", 2, registry.ErrUnknownID, 3)
	if _, err := c.Register(t.Context(), "a", userV2); err != nil { // two requests
		t.Fatal(err)
	}
	expect("registered by ourselves", 2, nil, 6)
	mustRegister(t, server, "b", enum("B"))
	expect("a third", 3, nil, 7) // drops 1 or 2
	expect("a third again", 3, nil, 7)
	before := requests.Load()
	for _, id := range []int{1, 2} {
		if _, err := c.SchemaByID(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if requests.Load() == before {
		t.Errorf("three schemas are kept, at most 2 should be")
	}
}

// TestClientSharesRequests: many callers, one request; one that gives up does
// not take it from the others.
func TestClientSharesRequests(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	var requests atomic.Int64
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) == 1 {
			close(arrived)
		}
		<-release
		fmt.Fprint(w, `{"schema":"\"int\""}`)
	}))
	c := newClient(t, registry.ClientConfig{URL: url})
	impatient, giveUp := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := c.SchemaByID(impatient, 7)
		gone <- err
	}()
	<-arrived
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if text, err := c.SchemaByID(t.Context(), 7); err != nil || text != `"int"` {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	giveUp()
	if err := <-gone; !errors.Is(err, context.Canceled) || !errors.Is(err, registry.ErrUnreachable) || errors.Is(err, registry.ErrUnknownID) {
		t.Errorf("who gave up got %v", err)
	}
	close(release)
	wg.Wait()
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// TestClientAsksAnewForUnknownIDs, when told to, before their time is over.
func TestClientAsksAnewForUnknownIDs(t *testing.T) {
	server := newServer(t, registry.Config{})
	c, err := registry.NewClient(registry.ClientConfig{URL: serve(t, server), UnknownTTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.SchemaByID(t.Context(), 1); !errors.Is(err, registry.ErrUnknownID) {
		t.Fatal(err)
	}
	mustRegister(t, server, "a", userV1)
	if _, err := c.SchemaByID(t.Context(), 1); !errors.Is(err, registry.ErrUnknownID) {
		t.Fatalf("asked again within the hour: %v", err)
	}
	c.AskAnew()
	if _, err := c.SchemaByID(t.Context(), 1); err != nil {
		t.Error(err)
	}
}

// TestClientTellsUnknownFromUnreachable: only a registry's own answer about
// the id makes it unknown.
func TestClientTellsUnknownFromUnreachable(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   error
	}{
		{"unknown id", 404, `{"error_code":40403,"message":"Schema 1 not found"}`, registry.ErrUnknownID},
		{"some other server's 404", 404, `404 page not found`, registry.ErrUnreachable},
		{"a proxy's 404 in JSON", 404, `{"message":"no route"}`, registry.ErrUnreachable},
		{"a 404 without a schema's code", 404, `{"error_code":404,"message":"HTTP 404 Not Found"}`, registry.ErrUnreachable},
		{"unknown subject", 404, `{"error_code":40401,"message":"Subject not found"}`, registry.ErrUnreachable},
		{"store error", 500, `{"error_code":50001,"message":"store"}`, registry.ErrUnreachable},
		{"login refused", 401, `{"error_code":401,"message":"Unauthorized"}`, registry.ErrUnreachable},
		{"bad gateway", 502, `<html>`, registry.ErrUnreachable},
		{"null", 200, `null`, registry.ErrUnreachable},
		{"empty", 200, ``, registry.ErrUnreachable},
		{"no schema", 200, `{}`, registry.ErrUnreachable},
		{"a login page", 200, `<html>`, registry.ErrUnreachable},
		{"endless", 200, `{"schema":"` + strings.Repeat("x", 9<<20) + `"}`, registry.ErrUnreachable},
		{"protobuf", 200, `{"schema":"message M {}","schemaType":"PROTOBUF"}`, registry.ErrUnsupported},
		{"references", 200, `{"schema":"\"t.Other\"","references":[{"name":"t.Other","subject":"o","version":1}]}`, registry.ErrUnsupported},
		{"plain", 200, `{"schema":"\"int\"","schemaType":"AVRO"}`, nil},
	} {
		h, requests := counting(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
		}))
		client := newClient(t, registry.ClientConfig{URL: serve(t, h)})
		for range 2 {
			_, err := client.SchemaByID(t.Context(), 1)
			for _, kind := range []error{registry.ErrUnknownID, registry.ErrUnreachable, registry.ErrUnsupported, registry.ErrRejected} {
				if errors.Is(err, kind) != errors.Is(kind, c.want) {
					t.Errorf("%s: %v", c.name, err)
				}
			}
			if err != nil && len(err.Error()) > 3000 {
				t.Errorf("%s: an error of %d bytes", c.name, len(err.Error()))
			}
		}
		// Only an answer about the id is worth remembering.
		want := int64(1)
		if errors.Is(c.want, registry.ErrUnreachable) {
			want = 2
		}
		if got := requests.Load(); got != want {
			t.Errorf("%s: %d requests for two calls, want %d", c.name, got, want)
		}
	}
}

func TestClientTimeOutsAndContexts(t *testing.T) {
	silent := make(chan struct{})
	url := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-silent }))
	t.Cleanup(func() { close(silent) })
	c := newClient(t, registry.ClientConfig{URL: url, Timeout: 50 * time.Millisecond})
	if _, err := c.SchemaByID(t.Context(), 1); !errors.Is(err, registry.ErrUnreachable) {
		t.Errorf("a silent registry, by id: %v", err)
	}
	if _, err := c.Register(t.Context(), "s", userV1); !errors.Is(err, registry.ErrUnreachable) {
		t.Errorf("a silent registry, registering: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newClient(t, registry.ClientConfig{URL: url}).Latest(ctx, "s"); !errors.Is(err, registry.ErrUnreachable) || !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	if _, err := newClient(t, registry.ClientConfig{URL: closed.URL}).SchemaByID(t.Context(), 1); !errors.Is(err, registry.ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestClientCredentials(t *testing.T) {
	const user, password = "someone", "s3cret-word"
	server := newServer(t, registry.Config{})
	guarded := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error_code":401,"message":"Unauthorized"}`)
			return
		}
		server.ServeHTTP(w, r)
	}))
	inURL := strings.Replace(guarded, "http://", "http://"+user+":"+password+"@", 1)
	for name, cfg := range map[string]registry.ClientConfig{
		"in the configuration": {URL: guarded, Username: user, Password: password},
		"in the address":       {URL: inURL},
	} {
		if _, err := newClient(t, cfg).Register(t.Context(), "s", userV1); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var errs []error
	_, err := newClient(t, registry.ClientConfig{URL: guarded, Username: user, Password: password + "x"}).SchemaByID(t.Context(), 1)
	errs = append(errs, err)
	_, err = newClient(t, registry.ClientConfig{URL: "http://" + user + ":" + password + "@127.0.0.1:1"}).SchemaByID(t.Context(), 1)
	errs = append(errs, err)
	_, err = newClient(t, registry.ClientConfig{URL: inURL}).SchemaByID(t.Context(), 99)
	errs = append(errs, err)
	for _, bad := range []string{
		"http://" + user + ":" + password + "@host:port:no", "ftp://" + user + ":" + password + "@host", user + ":" + password + "@host",
		"http://" + user + ":" + password + "@host/?x=" + password, "",
	} {
		_, err = registry.NewClient(registry.ClientConfig{URL: bad})
		errs = append(errs, err)
	}
	for i, err := range errs {
		if err == nil || strings.Contains(err.Error(), password) || strings.Contains(err.Error(), user) {
			t.Errorf("error %d: %v", i, err)
		}
	}
}
