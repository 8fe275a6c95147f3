package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	"syncline/schemas/change"
)

// ErrPermanent is what errors are that sending the same again cannot cure
// (errors.Is). It is the engine's own mark.
var ErrPermanent = change.ErrPermanent

// Error says what could not be done, to which table and offsets, by which rule
// and what to do about it. Its text holds no password.
type Error struct {
	Op        string // "writing", "reading offsets of", …
	Table     string
	Range     string // partitions and offsets, "" where none are concerned
	Rule, Fix string // "" where nothing is known beyond Err
	Err       error

	permanent bool
	foreign   bool // the answer is not ClickHouse's own
	lost      bool // the table is not what it was
	secret    string
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	for _, s := range []string{e.Table, e.Range} {
		if s != "" {
			b.WriteString(" " + s)
		}
	}
	if e.Err != nil {
		b.WriteString(": " + cause(e.Err))
	}
	for _, s := range []string{e.Rule, e.Fix} {
		if s != "" {
			b.WriteString("; " + s)
		}
	}
	if e.secret == "" {
		return b.String()
	}
	return strings.ReplaceAll(b.String(), e.secret, "***")
}

// cause is err's text. Of a request that failed it leaves out all of the URL but
// the host: the rest is the statement and its settings.
func cause(err error) string {
	request, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err.Error()
	}
	host := "the server"
	if u, parseErr := url.Parse(request.URL); parseErr == nil {
		host = u.Host
	}
	return fmt.Sprintf("asking %s: %v", host, request.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is ErrPermanent and e is, or
// [change.ErrTargetLost] and e is that.
func (e *Error) Is(target error) bool {
	return target == ErrPermanent && e.permanent || target == change.ErrTargetLost && e.lost
}

// Permanent reports whether sending the same again cannot help: the caller must
// stop and show the error. Otherwise it must send the same batch again.
func (e *Error) Permanent() bool { return e.permanent }

// advice is what we know of an answer of the server.
type advice struct{ rule, fix string }

// permanentCodes are the answers that do not change by themselves. Every other
// answer is worth another try: to lose patience would lose nothing but time, to
// give up wrongly stops the pipeline.
func permanentCode(code int32) (advice, bool) {
	const report = "this is a fault of the sink: keep the batch's offsets and report it"
	switch code {
	case 60, 81: // UNKNOWN_TABLE, UNKNOWN_DATABASE
		return advice{"the sink writes only into tables that it made itself", addsMissing}, true
	case 16, 47: // NO_SUCH_COLUMN_IN_TABLE, UNKNOWN_IDENTIFIER
		return advice{"a table must have every column that the sink knows before the sink writes", addsMissing}, true
	case 53, 70, 349, 407, 321: // types
		return advice{"a column must hold every value of its field", "compare the table's columns with those of a new database"}, true
	case 6, 27, 41, 33, 62, 73, 117, 131: // parsing, syntax, format
		return advice{"the server must be able to read what the sink sends", report}, true
	case 115: // UNKNOWN_SETTING
		return advice{"exactly-once inserts need these settings", "use a server of version 24.8 or later"}, true
	case 164, 497, 192, 193, 194, 195, 516, 517: // READONLY, ACCESS_DENIED, credentials
		return advice{"the user must be able to sign in, and to select, insert and create in the database", "correct user and password, or grant it"}, true
	case heldCode: // VIOLATED_CONSTRAINT
		return advice{"while a rebuild exchanges a table nothing is written into it", "it goes on by itself, at the latest a minute after a rebuild that was cut off"}, false
	case 36, 43, 44, 46, 48: // BAD_ARGUMENTS, illegal types, UNKNOWN_FUNCTION, NOT_IMPLEMENTED
		return advice{"the server must know what the tables and views use", "use a server of version 24.8 or later"}, true
	}
	return advice{}, false
}

// heldCode is the answer to an insert into a table that a rebuild holds.
const heldCode = 469

// held says whether err is that of a table which is held.
func held(err error) bool {
	exception, ok := errors.AsType[*clickhouse.Exception](err)
	return ok && exception.Code == heldCode
}

// lostTable are the answers to an insert into a table that is gone or lacks a
// column, which a rebuild of it, or the next start of the sink, makes good.
func lostTable(err error) bool {
	exception, ok := errors.AsType[*clickhouse.Exception](err)
	return ok && (exception.Code == 60 || exception.Code == 16)
}

// lostTable marks such an error: the sink begins anew where the table then ends.
func (w *Writer) lostTable(s *slot, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.permanent, e.lost, e.Fix = false, true, mends(s.record)
	}
	return err
}

// mends says how tables of these records come back whole.
func mends(records ...string) string {
	var how []string
	for _, r := range records {
		if slices.Contains(Refills(), r) {
			how = append(how, "syncline rebuild "+r)
		}
	}
	if len(how) == 0 {
		return addsMissing
	}
	return strings.Join(how, "; ") + " (to start the pipelines adds what is missing too, but fills no column of the rows that are there)"
}

// fault classifies err. A nil err stays nil.
func (w *Writer) fault(op, table, offsets string, err error) error {
	if err == nil {
		return nil
	}
	if _, known := errors.AsType[*Error](err); known {
		return err
	}
	e := &Error{Op: op, Table: table, Range: offsets, Err: err, secret: w.opts.Password}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return e
	}
	if exception, ok := errors.AsType[*clickhouse.Exception](err); ok {
		a, permanent := permanentCode(exception.Code)
		e.Rule, e.Fix, e.permanent = a.rule, a.fix, permanent
		return e
	}
	if answer, ok := errors.AsType[*clickhouse.HTTPError](err); ok {
		e.judge(answer)
	}
	return e
}

// exceptionText is how ClickHouse begins an error where a proxy has taken the
// header with its code away.
var exceptionText = regexp.MustCompile(`\bCode: ([0-9]{1,5})\. DB::`)

// judge looks at an answer without an exception. Its status is that of whoever
// stands in between (a proxy that finds no server says 404 too), so that alone
// it never makes an error permanent.
func (e *Error) judge(answer *clickhouse.HTTPError) {
	if m := exceptionText.FindStringSubmatch(answer.Error()); m != nil {
		if code, err := strconv.ParseInt(m[1], 10, 32); err == nil {
			a, permanent := permanentCode(int32(code))
			e.Rule, e.Fix, e.permanent = a.rule, a.fix, permanent
			return
		}
	}
	switch s := answer.StatusCode; {
	case s == http.StatusRequestTimeout || s == http.StatusTooEarly || s == http.StatusTooManyRequests:
	case s == http.StatusUnauthorized || s == http.StatusForbidden || s == http.StatusProxyAuthRequired:
		e.foreign = true
		e.Rule, e.Fix = "the user must be able to sign in, at ClickHouse and at what stands before it", "correct user and password"
	case s >= 400 && s < 500:
		e.foreign = true
		e.Rule, e.Fix = "the address must be that of a ClickHouse HTTP interface", "correct the address: the port is 8123, not the native 9000"
	}
}

// atStart makes an answer that is not ClickHouse's permanent: before the first
// word with a server a wrong address is likelier than a proxy's passing trouble.
func atStart(err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.foreign {
		e.permanent = true
	}
	return err
}

// broken is a permanent fault found on our side.
func (w *Writer) broken(op, table, offsets, rule, fix string, err error) error {
	return &Error{Op: op, Table: table, Range: offsets, Rule: rule, Fix: fix, Err: err, permanent: true, secret: w.opts.Password}
}
