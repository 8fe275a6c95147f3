// Package httpcall makes HTTP calls that cannot be made twice by accident. Every
// writer that speaks HTTP uses it.
//
// net/http's Transport repeats a request on a reused connection that breaks
// before the answer, also a POST if it has an Idempotency-Key header; a redirect
// repeats it somewhere else. Here one call is one connection and one request,
// written once: there is nothing below it that could repeat.
package httpcall

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"syncline/sinks"
)

// Errors of an answer. After a write they all mean that nobody knows.
var (
	ErrTooLarge = errors.New("the answer is larger than allowed")
	ErrEncoded  = errors.New("the answer is compressed, which was not asked for")
)

// Client calls one target. It is safe for concurrent use.
type Client struct {
	base        *url.URL
	maxReply    int64
	tls         *tls.Config
	authorize   func(context.Context) (string, error)
	userTimeout time.Duration
}

// Options of a client. Base is the only thing that it needs.
type Options struct {
	// Base is the target's address; paths are appended to it.
	Base string
	// MaxReply is the most bytes of an answer, with its header; 4 MiB by default.
	MaxReply int64
	// TLS overrides the system's settings.
	TLS *tls.Config
	// Authorize returns the Authorization header of the next call.
	Authorize func(context.Context) (string, error)
	// UserTimeout is after how long without an acknowledgement the kernel gives a
	// connection up; 20 s by default.
	UserTimeout time.Duration
}

// New returns a client.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.Base)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("address %q: want http://host or https://host, with a path if need be", o.Base)
	}
	if base.User != nil {
		return nil, fmt.Errorf("address of %s: a login does not belong in it", base.Host)
	}
	if o.MaxReply == 0 {
		o.MaxReply = 4 << 20
	}
	if o.UserTimeout == 0 {
		o.UserTimeout = 20 * time.Second
	}
	return &Client{base: base, maxReply: o.MaxReply, tls: o.TLS, authorize: o.Authorize, userTimeout: o.UserTimeout}, nil
}

// Do makes one call. The context bounds it from dialling to the last byte of the
// answer; where it ends early the connection is reset, so that nothing that is
// still in a buffer arrives later. An error that is sinks.ErrNotSent says that no
// byte of the request has left; every other one says nothing about what the
// target has done. Redirects are answers like all others.
//
// body must not be empty where the verb writes; GET goes without one.
func (c *Client) Do(ctx context.Context, verb, path string, header map[string]string, body []byte) (sinks.Reply, error) {
	if verb != http.MethodGet && len(body) == 0 {
		return sinks.Reply{}, fmt.Errorf("%w: %s %s without a body", sinks.ErrNotSent, verb, path)
	}
	// Background: the connection is torn down by us, not by the library.
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), verb, strings.TrimSuffix(c.base.String(), "/")+path, bytes.NewReader(body))
	if err != nil {
		return sinks.Reply{}, fmt.Errorf("%w: %w", sinks.ErrNotSent, err)
	}
	if req.URL.Host != c.base.Host {
		return sinks.Reply{}, fmt.Errorf("%w: %s leads to another host than %s", sinks.ErrNotSent, path, c.base.Host)
	}
	req.Close = true
	req.Header.Set("User-Agent", "syncline")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "identity")
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	if c.authorize != nil {
		login, err := c.authorize(ctx)
		if err != nil {
			return sinks.Reply{}, fmt.Errorf("%w: %w", sinks.ErrNotSent, err)
		}
		req.Header.Set("Authorization", login)
	}
	tcp, conn, err := c.dial(ctx)
	if err != nil {
		return sinks.Reply{}, fmt.Errorf("%w: %w", sinks.ErrNotSent, err)
	}
	reply, err := c.exchange(ctx, tcp, conn, req)
	if err != nil && ctx.Err() != nil && !errors.Is(err, sinks.ErrNotSent) {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return reply, err
}

// dial connects, TLS included.
func (c *Client) dial(ctx context.Context) (*net.TCPConn, net.Conn, error) {
	host := c.base.Host
	if c.base.Port() == "" {
		host = net.JoinHostPort(c.base.Hostname(), c.base.Scheme)
	}
	dialer := net.Dialer{}
	plain, err := dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, nil, err
	}
	tcp, ok := plain.(*net.TCPConn)
	if !ok {
		plain.Close()
		return nil, nil, fmt.Errorf("connection to %s is a %T", host, plain)
	}
	if err := setUserTimeout(tcp, c.userTimeout); err != nil {
		tcp.Close()
		return nil, nil, fmt.Errorf("limiting how long the connection waits for an acknowledgement: %w", err)
	}
	if c.base.Scheme == "http" {
		return tcp, tcp, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.tls != nil {
		config = c.tls.Clone()
	}
	config.ServerName = c.base.Hostname()
	config.NextProtos = nil // HTTP/2 repeats streams
	secure := tls.Client(tcp, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		tcp.Close()
		return nil, nil, err
	}
	return tcp, secure, nil
}

// exchange writes the request and reads the answer.
func (c *Client) exchange(ctx context.Context, tcp *net.TCPConn, conn net.Conn, req *http.Request) (reply sinks.Reply, err error) {
	reset := func() {
		_ = tcp.SetLinger(0) // RST: what is in the buffers is dropped
		_ = tcp.Close()
	}
	stop := context.AfterFunc(ctx, reset)
	defer func() {
		if !stop() || err != nil {
			reset()
			return
		}
		_ = conn.Close()
	}()
	out := &firstWrite{Writer: conn, permitted: func() error { return sinks.Permitted(ctx) }}
	if err := req.Write(out); err != nil {
		if !out.begun {
			return sinks.Reply{}, fmt.Errorf("%w: %w", sinks.ErrNotSent, err)
		}
		return sinks.Reply{}, fmt.Errorf("writing the request: %w", err)
	}
	limit := &io.LimitedReader{R: conn, N: c.maxReply + 1}
	in := bufio.NewReader(limit)
	tooLarge := func(err error) error {
		if limit.N <= 0 {
			return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, c.maxReply)
		}
		return fmt.Errorf("reading the answer: %w", err)
	}
	resp, err := http.ReadResponse(in, req)   //nolint:bodyclose // see below
	for err == nil && resp.StatusCode < 200 { // 100 Continue and the like
		resp, err = http.ReadResponse(in, req) //nolint:bodyclose // see below
	}
	if err != nil {
		return sinks.Reply{}, tooLarge(err)
	}
	// The body is not closed: that would read all of it. The connection ends with us.
	reply = sinks.Reply{Status: resp.StatusCode, Header: map[string]string{}}
	for name := range resp.Header {
		reply.Header[strings.ToLower(name)] = resp.Header.Get(name)
	}
	if e := reply.Header["content-encoding"]; e != "" && e != "identity" {
		return reply, fmt.Errorf("%w: %s", ErrEncoded, e)
	}
	reply.Body, err = io.ReadAll(resp.Body)
	if err != nil || limit.N <= 0 {
		return reply, tooLarge(err)
	}
	return reply, nil
}

// firstWrite asks whether the request may go right before its first byte.
type firstWrite struct {
	io.Writer
	permitted func() error
	begun     bool
}

func (w *firstWrite) Write(b []byte) (int, error) {
	if !w.begun {
		if err := w.permitted(); err != nil {
			return 0, err
		}
		w.begun = true
	}
	return w.Writer.Write(b)
}

// JSON says whether an answer claims to be JSON in UTF-8.
func JSON(r sinks.Reply) bool {
	kind, params, err := mime.ParseMediaType(r.Header["content-type"])
	charset := strings.ToLower(params["charset"])
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json")) && (charset == "" || charset == "utf-8")
}
