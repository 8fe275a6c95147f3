//go:build unix && !nolibchdb

package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"unsafe"
)

// Engine is a running libchdb engine over one data directory.
// It is safe for concurrent use; each [Session] is not.
type Engine struct {
	lib  *binding
	args []string
	// keeper is a connection nobody uses: closing the last one shuts the
	// engine down, and it must not restart inside one process.
	keeper unsafe.Pointer

	mu     sync.Mutex
	closed bool
	active sync.WaitGroup
}

// Open loads the library at path and starts an engine over config.Dir, which
// is made if absent. Only one engine runs in a process at a time.
func Open(path string, config Config) (*Engine, error) {
	config = config.withDefaults()
	dir, err := filepath.Abs(config.Dir)
	if err != nil {
		return nil, fmt.Errorf("resolving engine directory %q: %w", config.Dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making engine directory: %w", err)
	}
	lib, err := load(path)
	if err != nil {
		return nil, err
	}
	configFile, err := writeLibraryConfig(dir)
	if err != nil {
		return nil, err
	}
	// Go's runtime owns the signals of this process.
	lib.setSignals(false)
	session := []string{
		"--path=" + dir,
		"--max_threads=" + strconv.Itoa(config.MaxThreads),
		// The library's own defaults differ from a server's in these.
		"--implicit_select=0",
		"--async_insert=0",
		"--allow_introspection_functions=0",
	}
	boot := append([]string{
		"--config-file=" + configFile,
		"--max_server_memory_usage=" + strconv.FormatInt(config.MaxMemory, 10),
		"--mark_cache_size=" + strconv.Itoa(64<<20),
		"--index_mark_cache_size=" + strconv.Itoa(16<<20),
		"--background_pool_size=2",
		"--background_schedule_pool_size=4",
		"--background_common_pool_size=2",
	}, session...)
	keeper := lib.open(boot)
	if keeper == nil {
		return nil, fmt.Errorf("starting the ClickHouse engine over %s: the library refused; "+
			"another process may hold the directory (see its status file), or the disk is full or read-only", dir)
	}
	return &Engine{lib: lib, args: session, keeper: keeper}, nil
}

// Version is the library's version, such as "26.7.3".
func (e *Engine) Version() string { return e.lib.version() }

// errClosed is what a session of a closed engine gets.
var errClosed = errors.New("the ClickHouse engine is closed")

// Session opens a session with settings, current database and temporary
// tables of its own. It costs about 0.2 ms; one per request is the intended use.
func (e *Engine) Session() (*Session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, errClosed
	}
	conn := e.lib.open(e.args)
	if conn == nil {
		return nil, errors.New("opening a session: the engine refused")
	}
	e.active.Add(1)
	return &Session{engine: e, lib: e.lib, conn: conn}, nil
}

// Close waits for open sessions and shuts the engine down.
func (e *Engine) Close() {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return
	}
	e.closed = true
	e.mu.Unlock()
	e.active.Wait()
	e.lib.closeConn(e.keeper)
}

// Session runs one statement at a time; it is not safe for concurrent use.
type Session struct {
	engine *Engine
	lib    *binding
	conn   unsafe.Pointer
}

// handle reads the connection out of the pointer chdb_connect returned.
func (s *Session) handle() uintptr { return *(*uintptr)(s.conn) }

// Close gives the session back. Streams and inserts must be closed before.
func (s *Session) Close() {
	if s.conn == nil {
		return
	}
	s.lib.closeConn(s.conn)
	s.conn = nil
	s.engine.active.Done()
}

// Statements counts the statements in a text: 0 when it does not parse.
func (s *Session) Statements(query string) int {
	a := analysis{}
	a.size = uint32(unsafe.Sizeof(a))
	if s.lib.classify(s.handle(), stringData(query), uintptr(len(query)), nil, 0, unsafe.Pointer(&a)) != 0 {
		return 0
	}
	return int(a.statements)
}

// Exec runs a statement and throws its result away.
func (s *Session) Exec(query string) error {
	result := call(s.lib.query, s.handle(), query, "Null", nil)
	defer s.lib.destroyResult(result)
	return s.failure(result)
}

func (s *Session) failure(result uintptr) error {
	if result == 0 {
		return parseError("the engine returned no result")
	}
	if text := s.lib.resultError(result); text != "" {
		return parseError(text)
	}
	return nil
}

// refusesStreaming is how the library answers a statement that is no SELECT;
// it says so before it runs anything.
const refusesStreaming = "Streaming query is not supported for query"

// Query runs a statement; the result comes in the format unless the statement
// has a FORMAT clause. A SELECT streams, in memory bounded by a few blocks;
// any other statement is finished when Query returns.
func (s *Session) Query(query, format string, params []Param) (*Stream, error) {
	result := call(s.lib.stream, s.handle(), query, format, params)
	err := s.failure(result)
	if err == nil {
		return &Stream{session: s, stream: result}, nil
	}
	if result != 0 {
		s.lib.destroyResult(result)
	}
	if !strings.Contains(err.Error(), refusesStreaming) {
		return nil, err
	}
	result = call(s.lib.query, s.handle(), query, format, params)
	if err := s.failure(result); err != nil {
		if result != 0 {
			s.lib.destroyResult(result)
		}
		return nil, err
	}
	return &Stream{session: s, chunk: result, whole: true, RowsWritten: s.lib.resultRowsWritten(result)}, nil
}

// Stream is the result of a statement.
type Stream struct {
	session *Session
	stream  uintptr // a streaming query's handle, 0 when the result is whole
	chunk   uintptr // the chunk the caller may be looking at
	whole   bool
	read    bool
	// RowsWritten counts what a statement wrote that ran without streaming.
	RowsWritten uint64
}

// Next returns the next bytes of the result, valid until the next call or
// Close, or io.EOF. Chunks do not follow rows or blocks.
func (r *Stream) Next() ([]byte, error) {
	lib := r.session.lib
	if r.whole {
		if r.read || r.chunk == 0 {
			return nil, io.EOF
		}
		r.read = true
		if data := lib.bytes(r.chunk); len(data) > 0 {
			return data, nil
		}
		return nil, io.EOF
	}
	if r.chunk != 0 {
		lib.destroyResult(r.chunk)
		r.chunk = 0
	}
	if r.read {
		return nil, io.EOF
	}
	r.chunk = lib.fetch(r.session.handle(), r.stream)
	if err := r.session.failure(r.chunk); err != nil {
		r.read = true
		return nil, err
	}
	data := lib.bytes(r.chunk)
	if len(data) == 0 {
		r.read = true
		return nil, io.EOF
	}
	return data, nil
}

// Close ends the result; an unread rest is cancelled.
func (r *Stream) Close() {
	lib := r.session.lib
	if r.chunk != 0 {
		lib.destroyResult(r.chunk)
		r.chunk = 0
	}
	if r.stream != 0 {
		if !r.read {
			lib.cancelStream(r.session.handle(), r.stream)
		}
		lib.destroyResult(r.stream)
		r.stream = 0
	}
}

// Insert begins an INSERT whose data follows in the given input format. The
// statement has no FORMAT clause.
func (s *Session) Insert(query, format string, params []Param) (*Insert, error) {
	stream := call(s.lib.insert, s.handle(), query, format, params)
	if stream == 0 {
		return nil, parseError("the engine opened no insert")
	}
	if text := s.lib.insertError(stream); text != "" {
		s.lib.destroyInsert(stream)
		return nil, parseError(text)
	}
	return &Insert{lib: s.lib, stream: stream}, nil
}

// Insert is an INSERT in progress.
type Insert struct {
	lib    *binding
	stream uintptr
}

// Write hands over a piece of the data; the engine copies it and blocks while
// it is behind.
func (i *Insert) Write(data []byte) (int, error) {
	if len(data) == 0 {
		return 0, nil
	}
	if i.lib.appendInsert(i.stream, unsafe.Pointer(&data[0]), uintptr(len(data))) != 0 {
		return 0, parseError(i.lib.insertError(i.stream))
	}
	return len(data), nil
}

// Done ends the data, commits it and returns the rows written (including
// those of materialised views). Done or Cancel must be called once.
func (i *Insert) Done() (rows uint64, err error) {
	defer i.lib.destroyInsert(i.stream)
	result := i.lib.doneInsert(i.stream)
	if result == 0 {
		return 0, parseError(i.lib.insertError(i.stream))
	}
	defer i.lib.destroyResult(result)
	if text := i.lib.resultError(result); text != "" {
		return 0, parseError(text)
	}
	return i.lib.resultRowsWritten(result), nil
}

// Cancel gives the INSERT up; blocks not yet full are not written.
func (i *Insert) Cancel() {
	i.lib.cancelInsert(i.stream)
	i.lib.destroyInsert(i.stream)
}
