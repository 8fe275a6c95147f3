package httpcall_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"syncline/sinks"
	"syncline/sinks/httpcall"
)

func client(t *testing.T, address string, most int64) *httpcall.Client {
	t.Helper()
	c, err := httpcall.New(httpcall.Options{Base: address, MaxReply: most})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func keyed() map[string]string { return map[string]string{"Idempotency-Key": "k"} }

// TestOneCallIsOneRequest at a server that acts and drops the connection, after
// calls that would have left connections to reuse.
func TestOneCallIsOneRequest(t *testing.T) {
	var drop atomic.Bool
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		io.Copy(io.Discard, r.Body)
		if drop.Load() {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.Close()
		}
	}))
	defer server.Close()
	c := client(t, server.URL, 0)
	for range 4 {
		if _, err := c.Do(t.Context(), "POST", "/", keyed(), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	drop.Store(true)
	requests.Store(0)
	_, err := c.Do(t.Context(), "POST", "/", keyed(), []byte("{}"))
	if err == nil || errors.Is(err, sinks.ErrNotSent) || requests.Load() != 1 {
		t.Errorf("%d requests, %v", requests.Load(), err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var reached atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	reply, err := client(t, server.URL, 0).Do(t.Context(), "POST", "/", nil, []byte("{}"))
	if err != nil || reply.Status != http.StatusTemporaryRedirect || reached.Load() != 0 {
		t.Errorf("%+v, %v, the other host was reached %d times", reply, err, reached.Load())
	}
	if _, err := client(t, server.URL, 0).Do(t.Context(), "GET", "@example.org/", nil, nil); !errors.Is(err, sinks.ErrNotSent) {
		t.Errorf("a path that names another host: %v", err)
	}
}

func TestAnswersHaveLimits(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			chunk := make([]byte, 1<<20)
			for range 100 {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		case "/header":
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
		case "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
			w.Write([]byte{0x1f, 0x8b})
			http.NewResponseController(w).Flush()
			<-r.Context().Done() // who goes on reading waits for ever
		case "/exact":
			w.Write(make([]byte, 8<<10))
		}
	}))
	defer server.Close()
	c := client(t, server.URL, 64<<10)
	for path, want := range map[string]error{"/large": httpcall.ErrTooLarge, "/header": httpcall.ErrTooLarge, "/gzip": httpcall.ErrEncoded, "/exact": nil} {
		reply, err := c.Do(t.Context(), "GET", path, nil, nil)
		if !errors.Is(err, want) || len(reply.Body) > 64<<10 || want == nil && len(reply.Body) != 8<<10 {
			t.Errorf("%s: %d bytes, %v", path, len(reply.Body), err)
		}
	}
}

// TestNotSent: what surely did not leave says so, and nothing else does.
func TestNotSent(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer server.Close()
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused.Close()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	lost := errors.New("lease lost")
	for what, call := range map[string]func() error{
		"nobody listens": func() error {
			_, err := client(t, "http://"+refused.Addr().String(), 0).Do(t.Context(), "POST", "/", nil, []byte("{}"))
			return err
		},
		"over before": func() error {
			_, err := client(t, server.URL, 0).Do(over, "POST", "/", nil, []byte("{}"))
			return err
		},
		"not permitted": func() error {
			ctx := sinks.WithPermit(t.Context(), func() error { return lost })
			_, err := client(t, server.URL, 0).Do(ctx, "POST", "/", nil, []byte("{}"))
			if !errors.Is(err, lost) {
				t.Errorf("the reason is lost: %v", err)
			}
			return err
		},
		"write without body": func() error {
			_, err := client(t, server.URL, 0).Do(t.Context(), "POST", "/", nil, nil)
			return err
		},
	} {
		if err := call(); !errors.Is(err, sinks.ErrNotSent) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if requests.Load() != 0 {
		t.Errorf("%d requests", requests.Load())
	}
}

// TestAbortResets: a call that is given up ends its connection with RST.
func TestAbortResets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			ended <- err
			return
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		req, err := http.ReadRequest(in)
		if err == nil {
			_, err = io.ReadAll(req.Body)
		}
		if err != nil {
			ended <- err
			return
		}
		cancel()
		_, err = in.ReadByte()
		ended <- err
	}()
	_, err = client(t, "http://"+l.Addr().String(), 0).Do(ctx, "POST", "/", nil, []byte("{}"))
	if !errors.Is(err, context.Canceled) || errors.Is(err, sinks.ErrNotSent) {
		t.Errorf("the call: %v", err)
	}
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server saw %v, want a reset", err)
	}
}

func TestDecodeIsStrict(t *testing.T) {
	reply := func(kind, body string) sinks.Reply {
		return sinks.Reply{Header: map[string]string{"content-type": kind}, Body: []byte(body)}
	}
	for body, want := range map[string]string{
		`{"id":1,"id":2}`:       "twice",
		`{"id":1,"ID":2}`:       "twice",
		`[{"a":{"b":1,"b":1}}]`: "twice",
		`{"id":1} {"id":2}`:     "goes on",
		`{"id":`:                "not JSON",
		"{\"id\":\"\xff\"}":     "UTF-8",
		strings.Repeat("[", 100) + strings.Repeat("]", 100): "deep",
	} {
		if err := httpcall.Decode(reply("application/json", body), new(any)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30s: %v, want %q", body, err, want)
		}
	}
	for _, kind := range []string{"text/html", "", "application/json; charset=latin1"} {
		if err := httpcall.Decode(reply(kind, `{}`), new(any)); err == nil {
			t.Errorf("content type %q was taken", kind)
		}
	}
	for text, want := range map[string]httpcall.ID{`17`: "17", `"17"`: "17", `"a-1"`: "a-1"} {
		var id httpcall.ID
		if err := httpcall.Decode(reply("application/problem+json; charset=UTF-8", text), &id); err != nil || id != want {
			t.Errorf("%s: %q, %v", text, id, err)
		}
	}
	for _, text := range []string{`1.5`, `-1`, `1e3`, `true`, `[1]`, `null`} {
		if err := httpcall.Decode(reply("application/json", text), new(httpcall.ID)); err == nil {
			t.Errorf("%s was taken for an id", text)
		}
	}
}

func TestWordsAreForPeople(t *testing.T) {
	got := httpcall.Words([]byte("no\n\tsuch  token s3cret \xff"+strings.Repeat("x", 600)), "s3cret")
	if strings.Contains(got, "s3cret") || !strings.HasPrefix(got, "no such token … \uFFFD") || len(got) > 510 {
		t.Errorf("%q", got)
	}
}

// TestTokensWorkOnce: several stores of one file renew a pair once, and a refusal
// of a pair that somebody has replaced meanwhile is none.
func TestTokensWorkOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "login")
	var used atomic.Int64
	renew := func(_ context.Context, refresh string) (httpcall.Pair, error) {
		if used.Add(1) != 1 || refresh != "r1" {
			return httpcall.Pair{}, fmt.Errorf("%w: invalid_grant", sinks.ErrAuth)
		}
		return httpcall.Pair{Access: "a2", Refresh: "r2"}, nil
	}
	first := httpcall.NewTokens(path, renew)
	if err := first.Write(httpcall.Pair{Access: "a1", Refresh: "r1"}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for range 3 {
		go func() { done <- httpcall.NewTokens(path, renew).Renew(t.Context(), "a1") }()
	}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if p, err := first.Read(); err != nil || p.Access != "a2" || used.Load() != 1 {
		t.Errorf("%+v after %d uses, %v", p, used.Load(), err)
	}
	if err := first.Renew(t.Context(), "a2"); !errors.Is(err, sinks.ErrAuth) {
		t.Errorf("a dead login: %v", err)
	}
}
