package chfront

import (
	"bufio"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	chproto "github.com/ClickHouse/ch-go/proto"

	"syncline/deploy/embedded/engine"
)

// query is one request.
type query struct {
	front  *Front
	w      http.ResponseWriter
	r      *http.Request
	values url.Values
	// reader says that the user may only read; readOnly, that the request may
	// not do more: GET may not, whoever asks.
	reader, readOnly bool
	out              *output
}

func (q *query) serve() error {
	f := q.front
	header := q.w.Header()
	header.Set("X-ClickHouse-Server-Display-Name", "syncline-embedded")
	if q.r.Method != http.MethodGet && q.r.Method != http.MethodPost {
		return exception(codeNotImplemented, "Method %s is not offered: use GET or POST", q.r.Method)
	}
	login, err := f.authorise(q.r, q.values)
	if err != nil {
		return err
	}
	q.reader = login.ReadOnly
	q.readOnly = q.reader || q.r.Method == http.MethodGet
	if q.values.Get("session_id") != "" {
		return exception(codeSessionNotFound, "Sessions (session_id) are not offered by the embedded ClickHouse: every request is a session of its own")
	}
	if kind, _, _ := mime.ParseMediaType(q.r.Header.Get("Content-Type")); kind == "multipart/form-data" {
		return exception(codeNotImplemented, "External tables are not offered by the embedded ClickHouse")
	}
	text, data, err := q.queryText()
	if err != nil {
		return err
	}
	if err := judge(text, q.reader, q.readOnly); err != nil {
		return err
	}
	leave, err := f.place(q.r.Context())
	if err != nil {
		return err
	}
	defer leave()
	session, err := f.engine.Session()
	if err != nil {
		return err
	}
	defer session.Close()

	mark := f.mark()
	params, err := q.prepare(session, mark, data != nil)
	if err != nil {
		return err
	}
	stop := q.killWhenGone(mark)
	defer stop()
	if data != nil {
		return q.insert(session, text, params, data)
	}
	return q.run(session, text, params)
}

// prepare sets database and settings on a fresh session, in one statement so
// that an unknown setting stops the query as on a server.
func (q *query) prepare(session *engine.Session, mark string, insert bool) ([]engine.Param, error) {
	set, params, err := settings(q.values)
	if err != nil {
		return nil, err
	}
	database := q.values.Get("database")
	if h := q.r.Header.Get("X-ClickHouse-Database"); database == "" && h != "" {
		database = h
	}
	if database != "" && database != "default" {
		if err := session.Exec("USE " + quotedName(database)); err != nil {
			return nil, err
		}
	}
	list := []string{
		"log_comment = " + quoted(q.values.Get("log_comment")+mark),
		"max_execution_time = " + quoted(strconv.FormatFloat(q.front.config.MaxExecution.Seconds(), 'f', -1, 64)),
	}
	if insert {
		// One block per request, or a deduplication token would cover a part
		// of it only. The body limit bounds the memory.
		list = append(list, "max_insert_block_size = 1000000000", "min_insert_block_size_rows = 1000000000",
			"min_insert_block_size_bytes = 0", "input_format_parallel_parsing = 0")
	}
	for _, s := range set {
		switch {
		case s[0] == "readonly" && q.readOnly:
			// It is set below: less than asked for nobody gets by asking.
			if s[1] != "1" && s[1] != "2" {
				return nil, exception(codeReadonly, "Cannot modify 'readonly' setting in readonly mode")
			}
		case q.reader && !harmless(s[0]):
			return nil, exception(codeReadonly, "Cannot modify '%s' setting in readonly mode", s[0])
		default:
			list = append(list, s[0]+" = "+quoted(s[1]))
		}
	}
	if err := session.Exec("SET " + strings.Join(list, ", ")); err != nil || !q.readOnly {
		return params, err
	}
	// Last, as from then on the engine itself lets no setting be changed (1), or
	// any but this one (2), by whatever the statement says.
	level := "2"
	if q.reader || q.values.Get("readonly") == "1" {
		level = "1"
	}
	return params, session.Exec("SET readonly = " + level)
}

// killWhenGone kills the query if the client disconnects before stop. It
// tries again and again, as the query may not have begun yet.
func (q *query) killWhenGone(mark string) (stop func()) {
	stopped := make(chan struct{})
	cancel := context.AfterFunc(q.r.Context(), func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			q.front.kill(mark)
			select {
			case <-stopped:
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		cancel()
		close(stopped)
	}
}

// run executes a statement whose data, if any, is inside it.
func (q *query) run(session *engine.Session, text string, params []engine.Param) error {
	s := shapeOf(text)
	if !s.insert {
		if n := session.Statements(text); n > 1 {
			return exception(codeSyntaxError, "Multi-statements are not allowed: the request holds %d statements", n)
		}
	}
	format := q.values.Get("default_format")
	if format == "" {
		format = q.r.Header.Get("X-ClickHouse-Format")
	}
	if format == "" {
		format = "TabSeparated"
	}
	result, err := session.Query(text, format, params)
	if err != nil {
		return err
	}
	defer result.Close()
	if s.format != "" && !s.insert {
		format = s.format
	}
	if err := q.begin(format, result.RowsWritten); err != nil {
		return err
	}
	in := bufio.NewReaderSize(&chunkReader{stream: result, ctx: q.r.Context()}, 64<<10)
	revision, _ := strconv.ParseUint(q.values.Get("client_protocol_version"), 10, 32)
	if strings.EqualFold(format, "Native") && revision > 0 {
		_, err := in.Peek(1)
		switch {
		case errors.Is(err, io.EOF) && !s.insert:
			// The library leaves the header of an empty result out. Its session
			// is free again only after the result is closed.
			result.Close()
			return q.emptyNative(session, s.head, params, revision)
		case err != nil && !errors.Is(err, io.EOF):
			return err
		}
		if err := reframe(q.out.buffer, in, revision); err != nil {
			return err
		}
	} else if _, err := in.WriteTo(q.out.buffer); err != nil {
		return err
	}
	return q.out.finish()
}

// emptyNative answers a query without rows by a block that has its columns, so
// that a client knows their names and types. A statement that is no query
// cannot be described: its answer stays empty.
func (q *query) emptyNative(session *engine.Session, text string, params []engine.Param, revision uint64) error {
	result, err := session.Query("DESCRIBE TABLE ("+strings.TrimRight(text, "; \n\t")+"\n)", "JSONCompactEachRow", params)
	if err != nil {
		return q.out.finish()
	}
	defer result.Close()
	var names, types []string
	rows := json.NewDecoder(&chunkReader{stream: result, ctx: q.r.Context()})
	for {
		var row []string
		if err := rows.Decode(&row); errors.Is(err, io.EOF) {
			break
		} else if err != nil || len(row) < 2 {
			return fmt.Errorf("reading the columns of an empty result: %w", err)
		}
		names, types = append(names, row[0]), append(types, row[1])
	}
	if err := writeHeaderBlock(q.out.buffer, names, types, revision); err != nil {
		return err
	}
	return q.out.finish()
}

// begin sets the headers of a good answer; they go out with the first bytes.
func (q *query) begin(format string, written uint64) error {
	header := q.w.Header()
	header.Set("X-ClickHouse-Format", format)
	header.Set("Content-Type", contentType(format))
	header.Set("X-ClickHouse-Timezone", "UTC")
	header.Set("X-ClickHouse-Summary", fmt.Sprintf(`{"written_rows":"%d"}`, written))
	out, err := newOutput(q)
	if err != nil {
		return err
	}
	q.out = out
	return nil
}

// insert streams the body into an INSERT and commits it as one block.
func (q *query) insert(session *engine.Session, text string, params []engine.Param, data io.Reader) error {
	s := shapeOf(text)
	insert, err := session.Insert(strings.TrimSpace(s.head), s.format, params)
	if err != nil {
		return err
	}
	if err := q.pump(insert, data); err != nil {
		insert.Cancel()
		return err
	}
	if q.r.Context().Err() != nil {
		insert.Cancel()
		return errGone
	}
	rows, err := insert.Done()
	if err != nil {
		return err
	}
	if err := q.begin(s.format, rows); err != nil {
		return err
	}
	return q.out.finish()
}

func (q *query) pump(insert *engine.Insert, data io.Reader) error {
	limit := q.front.config.MaxInsertBytes
	buf := make([]byte, 256<<10)
	for total := int64(0); ; {
		n, err := data.Read(buf)
		total += int64(n)
		if total > limit {
			return exception(codeTooManyBytes, "The data of one INSERT is more than %d bytes: send smaller batches", limit)
		}
		if n > 0 {
			if _, err := insert.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return exception(codeCannotParseText, "Cannot read all data of the INSERT: %v; nothing was written", err)
		}
	}
}

// body is the request's body, decompressed as its headers say.
func (q *query) body() (io.Reader, error) {
	var body io.Reader = q.r.Body
	switch encoding := q.r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip":
		r, err := gzip.NewReader(body)
		if err != nil {
			return nil, exception(codeCannotParseText, "Cannot read the gzip body: %v", err)
		}
		body = r
	case "deflate":
		r, err := zlib.NewReader(body)
		if err != nil {
			return nil, exception(codeCannotParseText, "Cannot read the deflate body: %v", err)
		}
		body = r
	default:
		return nil, exception(codeUnknownCompression, "Content-Encoding %s is not offered: use gzip, deflate, or decompress=1 with LZ4 or ZSTD", encoding)
	}
	if on(q.values.Get("decompress")) {
		r := chproto.NewReader(body)
		r.EnableCompression()
		body = &frameReader{r: r}
	}
	return body, nil
}

// frameReader gives the end of a sequence of compressed frames as io.EOF: the
// decompressor reports it wrapped.
type frameReader struct{ r *chproto.Reader }

func (f *frameReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

func on(value string) bool { return value == "1" || strings.EqualFold(value, "true") }

// fail answers with an exception: as a response of its own while nothing is
// out, else in the framing that marks it inside the data.
func (q *query) fail(err error) {
	if errors.Is(err, errGone) || q.r.Context().Err() != nil {
		return
	}
	e := asException(err)
	text := e.Text
	if !strings.Contains(text, "(version ") {
		text += " (version " + q.front.engine.Version() + " (syncline embedded))"
	}
	if q.out != nil && q.out.started {
		q.out.abort(text)
		return
	}
	header := q.w.Header()
	for _, name := range []string{"Content-Encoding", "X-ClickHouse-Format", "X-ClickHouse-Summary"} {
		header.Del(name)
	}
	header.Set("Content-Type", "text/plain; charset=UTF-8")
	header.Set("X-ClickHouse-Exception-Code", strconv.Itoa(e.Code))
	if statusOf(e.Code) == http.StatusUnauthorized || e.Code == codeAuthentication {
		header.Set("WWW-Authenticate", `Basic realm="ClickHouse HTTP API"`)
	}
	// The rest of a large body is not worth reading.
	header.Set("Connection", "close")
	q.w.WriteHeader(statusOf(e.Code))
	_, _ = io.WriteString(q.w, text+"\n")
}

// chunkReader reads a result as a stream of bytes.
type chunkReader struct {
	stream *engine.Stream
	ctx    context.Context //nolint:containedctx // lives as long as the request
	rest   []byte
}

func (c *chunkReader) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if c.ctx.Err() != nil {
			return 0, errGone
		}
		chunk, err := c.stream.Next()
		if err != nil {
			return 0, err
		}
		c.rest = chunk
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func contentType(format string) string {
	switch strings.ToLower(format) {
	case "json", "jsoncompact", "jsonstrings", "jsoncolumnswithmetadata":
		return "application/json; charset=UTF-8"
	case "jsoneachrow", "jsoncompacteachrow":
		return "application/x-ndjson; charset=UTF-8"
	case "csv", "csvwithnames", "csvwithnamesandtypes":
		return "text/csv; charset=UTF-8"
	case "tabseparated", "tsv", "tabseparatedwithnames", "tsvwithnames", "tabseparatedwithnamesandtypes", "tsvwithnamesandtypes":
		return "text/tab-separated-values; charset=UTF-8"
	case "pretty", "prettycompact", "vertical", "values":
		return "text/plain; charset=UTF-8"
	}
	return "application/octet-stream"
}
