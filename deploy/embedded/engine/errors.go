package engine

import (
	"regexp"
	"strconv"
)

// Codes of ClickHouse exceptions this package and the front raise themselves.
// The numbers are ClickHouse's own, so that a client can treat both alike.
const (
	CodeBadArguments   = 36
	CodeNotImplemented = 48
	CodeSyntaxError    = 62
	CodeUnknown        = 1002
)

// Error is an exception of the engine.
type Error struct {
	// Code is ClickHouse's error code, CodeUnknown when the text has none.
	Code int
	// Text is the engine's own text, from "Code: 60. DB::Exception: ..." on.
	Text string
}

func (e *Error) Error() string { return e.Text }

var codePattern = regexp.MustCompile(`Code:\s*(\d+)\.`)

// parseError turns the text of a library error into an Error.
func parseError(text string) *Error {
	e := &Error{Code: CodeUnknown, Text: text}
	if m := codePattern.FindStringSubmatch(text); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n > 0 {
			e.Code = n
		}
	}
	if e.Code == CodeUnknown {
		e.Text = "Code: 1002. DB::Exception: " + text + " (UNKNOWN_EXCEPTION)"
	}
	return e
}
