//go:build nolibchdb || !unix

package engine

import "errors"

var errOff = errors.New("this binary holds no loader for the ClickHouse library (tag nolibchdb, or a system without it): put a clickhouse binary on PATH or set CLICKHOUSE_ADDR")

// Engine is not available in this build.
type Engine struct{}

// Open says that this build has no library.
func Open(string, Config) (*Engine, error) { return nil, errOff }

// Version is empty in this build.
func (*Engine) Version() string { return "" }

// Session fails in this build.
func (*Engine) Session() (*Session, error) { return nil, errOff }

// Close does nothing in this build.
func (*Engine) Close() {}

// Session is not available in this build.
type Session struct{}

// Close does nothing in this build.
func (*Session) Close() {}

// Statements is 0 in this build.
func (*Session) Statements(string) int { return 0 }

// Exec fails in this build.
func (*Session) Exec(string) error { return errOff }

// Query fails in this build.
func (*Session) Query(string, string, []Param) (*Stream, error) { return nil, errOff }

// Insert fails in this build.
func (*Session) Insert(string, string, []Param) (*Insert, error) { return nil, errOff }

// Stream is not available in this build.
type Stream struct{ RowsWritten uint64 }

// Next fails in this build.
func (*Stream) Next() ([]byte, error) { return nil, errOff }

// Close does nothing in this build.
func (*Stream) Close() {}

// Insert is not available in this build.
type Insert struct{}

// Write fails in this build.
func (*Insert) Write([]byte) (int, error) { return 0, errOff }

// Done fails in this build.
func (*Insert) Done() (uint64, error) { return 0, errOff }

// Cancel does nothing in this build.
func (*Insert) Cancel() {}
