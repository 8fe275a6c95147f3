package chfront

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"syncline/deploy/embedded/engine"
	"syncline/deploy/embedded/loopback"
)

// Config says how a front serves. Without Logins it lets nobody in.
type Config struct {
	// Logins are the users. Every query needs one.
	Logins []engine.Login
	// MaxQueries is the queries that run at once; more wait, at most
	// QueueWait. 0 means 8.
	MaxQueries int
	// QueueWait bounds the wait for a free place; 0 means 30 seconds.
	QueueWait time.Duration
	// MaxQueryBytes bounds the text of a statement, inline data included; 0
	// means 64 MiB.
	MaxQueryBytes int64
	// MaxInsertBytes bounds the uncompressed data of one streamed INSERT; 0
	// means 512 MiB. All of it is one block in the engine's memory.
	MaxInsertBytes int64
	// MaxExecution is the time one query may take, unless the client sets
	// max_execution_time; 0 means 10 minutes.
	MaxExecution time.Duration
	Log          *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.MaxQueries == 0 {
		c.MaxQueries = 8
	}
	if c.QueueWait == 0 {
		c.QueueWait = 30 * time.Second
	}
	if c.MaxQueryBytes == 0 {
		c.MaxQueryBytes = 64 << 20
	}
	if c.MaxInsertBytes == 0 {
		c.MaxInsertBytes = 512 << 20
	}
	if c.MaxExecution == 0 {
		c.MaxExecution = 10 * time.Minute
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Front is the HTTP handler. It is safe for concurrent use.
type Front struct {
	config Config
	engine *engine.Engine
	places chan struct{}
	serial atomic.Uint64
	// start tells this front's query marks from those of an earlier one.
	start int64
}

// New puts a front before an engine.
func New(e *engine.Engine, config Config) *Front {
	config = config.withDefaults()
	return &Front{config: config, engine: e, places: make(chan struct{}, config.MaxQueries), start: time.Now().UnixNano()}
}

// Server wraps the front in a server for this machine with header and idle
// time-outs; reading and writing are bounded by the query time instead.
func (f *Front) Server() *http.Server {
	return &http.Server{Handler: loopback.Guard(f), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 2 << 20}
}

// ServeHTTP answers /ping and /replicas_status, which need no login, as on a
// server, and queries on every other path.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/ping", "/replicas_status":
		_, _ = io.WriteString(w, "Ok.\n")
		return
	case "/":
		if r.Method == http.MethodGet && r.URL.RawQuery == "" {
			_, _ = io.WriteString(w, "Ok.\n")
			return
		}
	}
	q := &query{front: f, w: w, r: r, values: r.URL.Query()}
	if err := q.serve(); err != nil {
		q.fail(err)
	}
}

// place waits for one of the places for running queries.
func (f *Front) place(ctx context.Context) (leave func(), err error) {
	timer := time.NewTimer(f.config.QueueWait)
	defer timer.Stop()
	select {
	case f.places <- struct{}{}:
		return func() { <-f.places }, nil
	case <-ctx.Done():
		return nil, exception(codeAborted, "The client went away while the query waited for a free place")
	case <-timer.C:
		return nil, exception(codeTooManyQueries, "Too many simultaneous queries: %d run and none ended within %s", f.config.MaxQueries, f.config.QueueWait)
	}
}

// authorise finds the login of a request: headers of ClickHouse, basic
// authentication, or parameters of the URL, the first of them that is there.
func (f *Front) authorise(r *http.Request, values url.Values) (engine.Login, error) {
	user, password := values.Get("user"), values.Get("password")
	if u, p, ok := r.BasicAuth(); ok {
		user, password = u, p
	}
	if u := r.Header.Get("X-ClickHouse-User"); u != "" {
		user, password = u, r.Header.Get("X-ClickHouse-Key")
	}
	if user == "" {
		user = "default"
	}
	var found *engine.Login
	for i := range f.config.Logins {
		l := &f.config.Logins[i]
		sameUser := subtle.ConstantTimeCompare([]byte(user), []byte(l.Name))
		samePassword := subtle.ConstantTimeCompare([]byte(password), []byte(l.Password))
		if sameUser&samePassword == 1 {
			found = l
		}
	}
	if found == nil {
		return engine.Login{}, exception(codeAuthentication, "%.100s: Authentication failed: password is incorrect, or there is no user with such name "+
			"(`syncline connect-info` names the users)", user)
	}
	return *found, nil
}

// harmless tells the settings that a reader may give in the URL: they shape or
// bound the result. In the statement a reader may give none.
func harmless(name string) bool {
	switch name {
	case "max_execution_time", "max_result_rows", "max_result_bytes", "result_overflow_mode", "max_block_size", "extremes",
		"session_timezone", "date_time_output_format", "send_progress_in_http_headers", "http_headers_progress_interval_ms",
		"cancel_http_readonly_queries_on_client_close", "add_http_cors_header":
		return true
	}
	return strings.HasPrefix(name, "output_format_") && name != "output_format_schema"
}

// reserved are URL parameters that are no settings.
var reserved = map[string]bool{
	"query": true, "database": true, "default_format": true, "query_id": true, "quota_key": true, "user": true, "password": true,
	"compress": true, "decompress": true, "client_protocol_version": true, "wait_end_of_query": true, "buffer_size": true,
	"stacktrace": true, "session_id": true, "session_timeout": true, "session_check": true, "close_session": true, "role": true,
	"enable_http_compression": true, "http_zlib_compression_level": true, "network_compression_method": true,
	"network_zstd_compression_level": true, "log_comment": true,
}

// settings lists the statement's settings and parameters from the URL.
func settings(values url.Values) (set [][2]string, params []engine.Param, err error) {
	for key, list := range values {
		value := list[len(list)-1]
		if name, ok := strings.CutPrefix(key, "param_"); ok {
			params = append(params, engine.Param{Name: name, Value: value})
			continue
		}
		if reserved[key] {
			continue
		}
		if strings.HasSuffix(key, "_structure") || strings.HasSuffix(key, "_types") {
			return nil, nil, exception(codeNotImplemented, "External tables are not offered by the embedded ClickHouse")
		}
		if !validName(key) {
			return nil, nil, exception(codeBadArguments, "Setting name %q has characters other than letters, digits and _", key)
		}
		set = append(set, [2]string{key, value})
	}
	sort.Slice(set, func(i, j int) bool { return set[i][0] < set[j][0] })
	return set, params, nil
}

func validName(name string) bool {
	for i := range len(name) {
		if !isWord(name[i]) || name[i] >= 0x80 {
			return false
		}
	}
	return name != ""
}

func quoted(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

func quotedName(name string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(name) + "`"
}

// kill ends the statement that carries a mark, from a session of its own.
func (f *Front) kill(mark string) {
	session, err := f.engine.Session()
	if err != nil {
		return
	}
	defer session.Close()
	if err := session.Exec("KILL QUERY WHERE endsWith(Settings['log_comment'], " + quoted(mark) + ") ASYNC"); err != nil {
		f.config.Log.Warn("killing a query whose client went away", "mark", mark, "error", err)
	}
}

func (f *Front) mark() string {
	return fmt.Sprintf("#syncline-%x-%d", f.start, f.serial.Add(1))
}

// queryText reads the statement from URL and body.
func (q *query) queryText() (text string, data io.Reader, err error) {
	text = q.values.Get("query")
	if q.r.Method == http.MethodGet {
		return text, nil, nil
	}
	body, err := q.body()
	if err != nil {
		return "", nil, err
	}
	if text != "" {
		s := shapeOf(text)
		if s.insert && s.format != "" && !s.trailing && q.r.ContentLength != 0 {
			return text, body, nil
		}
	}
	limit := q.front.config.MaxQueryBytes
	raw, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return "", nil, exception(codeCannotParseText, "Cannot read the request's body: %v", err)
	}
	if int64(len(raw)) > limit {
		return "", nil, exception(codeTooManyBytes, "The statement is longer than %s bytes: put it into the query parameter and its data, with a FORMAT clause, into the body", strconv.FormatInt(limit, 10))
	}
	switch {
	case text == "":
		return string(raw), nil, nil
	case len(raw) == 0:
		return text, nil, nil
	}
	return text + "\n" + string(raw), nil, nil
}

var errGone = errors.New("client went away")
