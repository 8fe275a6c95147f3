package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

const (
	within    = 25 * time.Second // for expectations to come true
	calm      = 10 * time.Second // at most before they are first asked, unless one has a time limit of its own
	holdsFor  = time.Second      // what has come true must still be so
	askEvery  = 400 * time.Millisecond
	showBytes = 500
)

// wrongError is an expectation that did not come true; what came instead stands
// in the message.
type wrongError struct{ what string }

func (e wrongError) Error() string { return e.what }

func wrong(format string, args ...any) error { return wrongError{fmt.Sprintf(format, args...)} }

// expect asks until all expectations hold and still do a moment later, or their
// time is over.
func (t *teller) expect(ctx context.Context, all []expectation) error {
	most, limited := time.Duration(0), false
	for i := range all {
		if w := all[i].Within; w > 0 {
			most, limited = max(most, time.Duration(w*float64(time.Second))), true
		} else {
			most = max(most, within)
		}
	}
	begun := time.Now()
	rest := calm
	if limited {
		rest = min(most, within)
	}
	if err := t.settle(ctx, rest); err != nil {
		return err
	}
	var held time.Time
	var failure error
	err := poll(ctx, askEvery, time.Hour, func() (bool, error) {
		failure = t.checkAll(ctx, all)
		now := time.Now()
		switch {
		case failure == nil && held.IsZero():
			held = now
			return false, nil
		case failure == nil:
			return now.Sub(held) >= holdsFor, nil
		case t.p.hasEnded():
			return false, fmt.Errorf("%w (`up` has ended)", failure)
		case now.Sub(begun) >= most:
			return false, failure
		}
		if _, ok := errors.AsType[wrongError](failure); !ok {
			return false, failure
		}
		held = time.Time{}
		return false, nil
	})
	return err
}

func (t *teller) checkAll(ctx context.Context, all []expectation) error {
	for i := range all {
		if err := t.check(ctx, &all[i]); err != nil {
			return err
		}
	}
	return nil
}

// check asks once. A [wrongError] may still come true; any other is the case's.
func (t *teller) check(ctx context.Context, e *expectation) error {
	switch {
	case len(e.AnyOf) > 0:
		var told []string
		for i := range e.AnyOf {
			err := t.check(ctx, &e.AnyOf[i])
			if err == nil {
				return nil
			}
			if _, ok := errors.AsType[wrongError](err); !ok {
				return err
			}
			told = append(told, err.Error())
		}
		return wrong("%s", strings.Join(told, "; nor "))
	case len(e.Command) > 0:
		return t.checkCommand(ctx, e)
	case len(e.Log) > 0:
		said := strings.ToLower(t.p.said())
		for _, word := range e.Log {
			if !strings.Contains(said, strings.ToLower(word)) {
				return wrong("`up` has not said %s", word)
			}
		}
		return nil
	case e.Query == "":
		return errors.New("an expectation needs a query, a command, a log or any_of")
	}
	rows, err := t.p.query(ctx, e.Query)
	if err != nil {
		return wrong("%s: %v", e.Query, err)
	}
	return e.judge(rows)
}

// judge holds rows against what the expectation says of them.
func (e *expectation) judge(rows []map[string]any) error {
	got := tidyAll(rows)
	same := func(want []map[string]any) bool { return reflect.DeepEqual(got, tidyAll(want)) }
	switch {
	case e.Rows != nil:
		if !same(*e.Rows) {
			return wrong("%s: %s, wanted %s", e.Query, show(rows), show(*e.Rows))
		}
	case len(e.RowsAny) > 0:
		if !slices.ContainsFunc(e.RowsAny, same) {
			var wanted []string
			for _, w := range e.RowsAny {
				wanted = append(wanted, show(w))
			}
			return wrong("%s: %s, wanted one of %s", e.Query, show(rows), strings.Join(wanted, ", "))
		}
	case len(e.Never) > 0:
		if slices.ContainsFunc(e.Never, same) {
			return wrong("%s: %s, which must never be", e.Query, show(rows))
		}
	case len(e.Unsure) > 0:
		if len(got) == 0 || slices.ContainsFunc(got, func(row map[string]string) bool { return !admits(row, e.Unsure) }) {
			return wrong("%s: %s, wanted %s empty, or a column that says that the row is not complete", e.Query, show(rows), strings.Join(e.Unsure, ", "))
		}
	default:
		return fmt.Errorf("%s: a query needs rows, rows_any, never or unsure", e.Query)
	}
	return nil
}

// incompleteColumn is a column that says what a row lacks.
var incompleteColumn = regexp.MustCompile(`incomplete|partial|missing|refused|unknown|parked|letters`)

// admits tells whether a row says of itself that it is not sure of the columns:
// they are NULL, or a column beside them says so.
func admits(row map[string]string, columns []string) bool {
	if !slices.ContainsFunc(columns, func(c string) bool { _, has := row[c]; return has }) {
		return true
	}
	for k, v := range row {
		no := v == "false" || v == "0"
		switch {
		case slices.Contains(columns, k):
		case strings.Contains(k, "complete") && !strings.Contains(k, "incomplete"):
			if no {
				return true
			}
		case incompleteColumn.MatchString(k) && !no && v != "" && v != "[]":
			return true
		}
	}
	return false
}

func (t *teller) checkCommand(ctx context.Context, e *expectation) error {
	stdout, stderr, exit, err := t.p.call(ctx, slices.Clone(e.Command)...)
	if err != nil {
		return err
	}
	if e.Apply && exit == 0 {
		if shown := planShown.FindStringSubmatch(stdout); shown != nil {
			if stdout, stderr, exit, err = t.p.call(ctx, append(slices.Clone(e.Command), "--apply", shown[1])...); err != nil {
				return err
			}
		}
	}
	said := stdout + stderr
	told := fmt.Sprintf("`syncline %s` gave exit code %d: %q", strings.Join(e.Command, " "), exit, said[:min(len(said), showBytes)])
	if codes, ok := e.Exit.([]any); ok && !slices.ContainsFunc(codes, func(c any) bool { return fmt.Sprint(c) == fmt.Sprint(exit) }) ||
		!ok && e.Exit != nil && fmt.Sprint(e.Exit) != fmt.Sprint(exit) {
		return wrong("%s, wanted exit code %v", told, e.Exit)
	}
	said = strings.ToLower(said)
	for _, word := range e.Contains {
		if !strings.Contains(said, strings.ToLower(word)) {
			return wrong("%s, without %q", told, word)
		}
	}
	for _, word := range e.Lacks {
		if strings.Contains(said, strings.ToLower(word)) {
			return wrong("%s, with %q", told, word)
		}
	}
	return nil
}

// planShown is how a command that acts says the way on.
var planShown = regexp.MustCompile(`--apply ([0-9a-f]{12})`)

func tidyAll(rows []map[string]any) []map[string]string {
	out := make([]map[string]string, len(rows))
	for i, row := range rows {
		out[i] = map[string]string{}
		for k, v := range row {
			if v != nil {
				out[i][k] = tidy(v)
			}
		}
	}
	return out
}

var (
	numberText = regexp.MustCompile(`^-?\d+(\.\d+)?([eE][-+]?\d{1,3})?$`)
	timeText   = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:Z|\+00:00)?$`)
)

// tidy is a value as text that is equal for equal values: numbers without zeros
// at their end, times of UTC without an offset, midnight as its date.
func tidy(v any) string {
	if list, ok := v.([]any); ok {
		parts := make([]string, len(list))
		for i, x := range list {
			parts[i] = tidy(x)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	text := plainText(v)
	if numberText.MatchString(text) {
		if d, err := decimal.NewFromString(text); err == nil {
			return d.String()
		}
	}
	m := timeText.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	clock := m[2]
	if fraction := strings.TrimRight(m[3], "0"); fraction != "" {
		clock += "." + fraction
	}
	if clock == "00:00:00" {
		return m[1]
	}
	return m[1] + " " + clock
}

func show(rows []map[string]any) string {
	text, _ := json.Marshal(tidyAll(rows)) // of texts: no error
	if len(text) > showBytes {
		return string(text[:showBytes]) + "…"
	}
	return string(text)
}
