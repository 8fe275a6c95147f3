package registry

import (
	"errors"
	"fmt"
	"net/http"
)

// Error codes of the REST API, as Confluent documents them. The first three
// digits are the HTTP status.
const (
	codeSubjectNotFound = 40401
	codeVersionNotFound = 40402
	codeSchemaNotFound  = 40403
	codeLevelNotFound   = 40408 // the subject has no level of its own
	codeModeNotFound    = 40409 // the subject has no mode of its own
	codeIncompatible    = 409
	codeInvalidSchema   = 42201
	codeInvalidVersion  = 42202
	codeInvalidLevel    = 42203
	codeInvalidSubject  = 42208
	codeStore           = 50001
	// Ours: part of the API that this registry does not have.
	codeNotSupported = 50101
	// Ours: a limit of the whole registry is reached.
	codeFull = 50701
)

// apiError is an answer other than the one hoped for.
type apiError struct {
	status  int
	code    int
	message string
}

func (e *apiError) Error() string { return e.message }

// fail makes an apiError; the status follows from the code.
func fail(code int, format string, args ...any) *apiError {
	status := code
	for status > 999 {
		status /= 10
	}
	return &apiError{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

func notSupported(what, instead string) *apiError {
	return fail(codeNotSupported, "not supported: %s. %s", what, instead)
}

// asAPIError translates an error of the store or the parser.
func asAPIError(err error, subject string) *apiError {
	var api *apiError
	var bad *incompatibleError
	switch {
	case errors.As(err, &api):
		return api
	case errors.As(err, &bad):
		return fail(codeIncompatible, "Schema being registered is incompatible with an earlier schema for subject %q, details: %s", subject, joinReasons(bad.reasons))
	case errors.Is(err, ErrInvalidSchema):
		return fail(codeInvalidSchema, "%v", err)
	case errors.Is(err, ErrInvalidLevel):
		return fail(codeInvalidLevel, "%v", err)
	case errors.Is(err, errFull):
		return fail(codeFull, "%v", err)
	case errors.Is(err, errStore):
		return fail(codeStore, "Error in the backend data store: %v", err)
	}
	return fail(http.StatusInternalServerError, "%v", err)
}

// joinReasons lists at most twenty reasons: a subject may have many versions.
func joinReasons(reasons []string) string {
	const most = 20
	out := ""
	for i, r := range reasons {
		if i == most {
			return out + fmt.Sprintf("; and %d more", len(reasons)-most)
		}
		if i > 0 {
			out += "; "
		}
		out += r
	}
	return out
}
