package chfront

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"syncline/deploy/embedded/engine"
)

// Exception codes the front raises itself; the numbers are ClickHouse's.
const (
	codeCannotParseText    = 6
	codeBadArguments       = 36
	codeNotImplemented     = 48
	codeUnknownType        = 50
	codeSyntaxError        = 62
	codeReadonly           = 164
	codeTooManyQueries     = 202
	codeTooManyBytes       = 307
	codeSessionNotFound    = 372
	codeAccessDenied       = 497
	codeAuthentication     = 516
	codeUnknownCompression = 89
	codeAborted            = 236
)

var codeNames = map[int]string{
	codeCannotParseText: "CANNOT_PARSE_TEXT", codeBadArguments: "BAD_ARGUMENTS", codeNotImplemented: "NOT_IMPLEMENTED",
	codeUnknownType: "UNKNOWN_TYPE", codeSyntaxError: "SYNTAX_ERROR", codeTooManyQueries: "TOO_MANY_SIMULTANEOUS_QUERIES",
	codeTooManyBytes: "TOO_MANY_BYTES", codeSessionNotFound: "SESSION_NOT_FOUND", codeAuthentication: "AUTHENTICATION_FAILED",
	codeUnknownCompression: "UNKNOWN_COMPRESSION_METHOD", codeAborted: "ABORTED",
	codeReadonly: "READONLY", codeAccessDenied: "ACCESS_DENIED",
}

// exception makes an error in the form the engine's own have.
func exception(code int, format string, args ...any) error {
	return &engine.Error{Code: code, Text: fmt.Sprintf("Code: %d. DB::Exception: %s. (%s)", code, fmt.Sprintf(format, args...), codeNames[code])}
}

// asException gives any error a code.
func asException(err error) *engine.Error {
	if e, ok := errors.AsType[*engine.Error](err); ok {
		return e
	}
	return &engine.Error{Code: engine.CodeUnknown, Text: "Code: 1002. DB::Exception: " + err.Error() + ". (UNKNOWN_EXCEPTION)"}
}

// statusOf maps an exception code to the HTTP status a server answers with.
func statusOf(code int) int {
	switch code {
	case 6, 26, 27, 25, 33, 38, 41, 43, 53, 62, 69, 70, 72, 117, 130, 131, 321, 349, 386, 441, 457, 467, 568, 636, 637, 20, 42, 36:
		return http.StatusBadRequest
	case 46, 47, 50, 56, 60, 63, 73, 81, 115, 16, 10, 372:
		return http.StatusNotFound
	case 193, 194:
		return http.StatusUnauthorized
	case 192, 291, codeAccessDenied, codeAuthentication:
		return http.StatusForbidden
	case 172, 223, codeTooManyBytes:
		return http.StatusRequestEntityTooLarge
	case codeNotImplemented:
		return http.StatusNotImplemented
	case 159, 160:
		return http.StatusRequestTimeout
	case codeTooManyQueries, 209, 439:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

const marker = "__exception__"

func newTag() string { return strings.ToLower(rand.Text()[:16]) }

// framed is the block a server appends to a response whose header is out, so
// that a client can tell an exception from data.
func framed(tag, text string) string {
	return fmt.Sprintf("\r\n%s\r\n%s\r\n%s\n%d %s\r\n%s\r\n", marker, tag, text, len(text)+1, tag, marker)
}
