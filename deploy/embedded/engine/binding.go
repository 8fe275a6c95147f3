//go:build unix && !nolibchdb

package engine

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// binding is the part of libchdb's C interface in use, bound without cgo.
// Handles are opaque pointers into the library's memory. Every string goes
// over with its length, so data may hold zero bytes.
type binding struct {
	connect    func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	closeConn  func(conn unsafe.Pointer)
	setSignals func(enabled bool)
	version    func() string
	classify   func(conn uintptr, sql unsafe.Pointer, sqlLen uintptr, db unsafe.Pointer, dbLen uintptr, out unsafe.Pointer) int32
	query      func(conn uintptr, q unsafe.Pointer, qLen uintptr, f unsafe.Pointer, fLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) uintptr
	stream     func(conn uintptr, q unsafe.Pointer, qLen uintptr, f unsafe.Pointer, fLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) uintptr
	insert     func(conn uintptr, q unsafe.Pointer, qLen uintptr, f unsafe.Pointer, fLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) uintptr

	fetch        func(conn, result uintptr) uintptr
	cancelStream func(conn, result uintptr)

	appendInsert  func(stream uintptr, data unsafe.Pointer, n uintptr) int32
	doneInsert    func(stream uintptr) uintptr
	cancelInsert  func(stream uintptr)
	insertError   func(stream uintptr) string
	destroyInsert func(stream uintptr)

	resultBuffer      func(result uintptr) unsafe.Pointer
	resultLength      func(result uintptr) uintptr
	resultError       func(result uintptr) string
	resultRowsWritten func(result uintptr) uint64
	destroyResult     func(result uintptr)
}

// load opens the library and binds every symbol, or names the one missing.
func load(path string) (b *binding, err error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w (it needs glibc on linux; on musl use a clickhouse binary or CLICKHOUSE_ADDR)", path, err)
	}
	b = &binding{}
	for name, fn := range map[string]any{
		"chdb_connect":                     &b.connect,
		"chdb_close_conn":                  &b.closeConn,
		"chdb_set_signal_handlers_enabled": &b.setSignals,
		"chdb_version":                     &b.version,
		"chdb_classify_query_n":            &b.classify,
		"chdb_query_with_params_n":         &b.query,
		"chdb_stream_query_with_params_n":  &b.stream,
		"chdb_stream_insert_with_params_n": &b.insert,
		"chdb_stream_fetch_result":         &b.fetch,
		"chdb_stream_cancel_query":         &b.cancelStream,
		"chdb_stream_append":               &b.appendInsert,
		"chdb_stream_done":                 &b.doneInsert,
		"chdb_stream_cancel_insert":        &b.cancelInsert,
		"chdb_stream_insert_error":         &b.insertError,
		"chdb_destroy_insert_stream":       &b.destroyInsert,
		"chdb_result_buffer":               &b.resultBuffer,
		"chdb_result_length":               &b.resultLength,
		"chdb_result_error":                &b.resultError,
		"chdb_result_rows_written":         &b.resultRowsWritten,
		"chdb_destroy_query_result":        &b.destroyResult,
	} {
		symbol, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, fmt.Errorf("library %s has no symbol %s: remove the file so that the pinned version is fetched again: %w", path, name, err)
		}
		purego.RegisterFunc(fn, symbol)
	}
	return b, nil
}

// open makes a connection with command-line style arguments; nil means refused.
func (b *binding) open(args []string) unsafe.Pointer {
	keep := make([][]byte, 0, len(args)+1)
	argv := make([]unsafe.Pointer, 0, len(args)+2)
	for _, arg := range append([]string{"clickhouse"}, args...) {
		raw := append([]byte(arg), 0)
		keep = append(keep, raw)
		argv = append(argv, unsafe.Pointer(&raw[0]))
	}
	argv = append(argv, nil)
	conn := b.connect(int32(len(keep)), unsafe.Pointer(&argv[0]))
	runtime.KeepAlive(keep)
	runtime.KeepAlive(argv)
	return conn
}

// call runs one of query, stream and insert, which share a signature.
func call(fn func(uintptr, unsafe.Pointer, uintptr, unsafe.Pointer, uintptr, unsafe.Pointer, unsafe.Pointer, unsafe.Pointer, unsafe.Pointer, uintptr) uintptr,
	conn uintptr, query, format string, params []Param,
) uintptr {
	var names, nameLens, values, valueLens unsafe.Pointer
	var namePointers, valuePointers []unsafe.Pointer
	var nameLengths, valueLengths []uintptr
	for _, p := range params {
		namePointers = append(namePointers, stringData(p.Name))
		nameLengths = append(nameLengths, uintptr(len(p.Name)))
		valuePointers = append(valuePointers, stringData(p.Value))
		valueLengths = append(valueLengths, uintptr(len(p.Value)))
	}
	if len(params) > 0 {
		names, nameLens = unsafe.Pointer(&namePointers[0]), unsafe.Pointer(&nameLengths[0])
		values, valueLens = unsafe.Pointer(&valuePointers[0]), unsafe.Pointer(&valueLengths[0])
	}
	result := fn(conn, stringData(query), uintptr(len(query)), stringData(format), uintptr(len(format)),
		names, nameLens, values, valueLens, uintptr(len(params)))
	runtime.KeepAlive(params)
	runtime.KeepAlive(namePointers)
	runtime.KeepAlive(valuePointers)
	runtime.KeepAlive(nameLengths)
	runtime.KeepAlive(valueLengths)
	return result
}

// stringData never returns nil: the library takes a nil value for a missing one.
func stringData(s string) unsafe.Pointer {
	if s == "" {
		s = "\x00"
	}
	return unsafe.Pointer(unsafe.StringData(s))
}

// bytes views a result's buffer, valid until the result is destroyed.
func (b *binding) bytes(result uintptr) []byte {
	n := b.resultLength(result)
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(b.resultBuffer(result)), n)
}

// analysis mirrors chdb_query_analysis_v1.
type analysis struct {
	size, statements, flags, class uint32
}
