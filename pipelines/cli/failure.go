package cli

import (
	"errors"
	"fmt"

	"syncline/pipelines/catalog"
)

// The exit codes of every command.
const (
	ExitOK          = 0
	ExitFailed      = 1 // the command ran and did not succeed
	ExitInput       = 2 // arguments, configuration or catalog are wrong
	ExitEnvironment = 3 // something the command needs cannot be reached or used
	ExitDifferences = 4 // a check found differences
)

// Failure is an error as a user sees it: a stable code, the thing, the rule that
// it breaks and what to do.
type Failure struct {
	Code string // dotted, stable
	Exit int
	Err  error
	Fix  string
}

func (f *Failure) Error() string {
	s := f.Code + ": " + f.Err.Error()
	if f.Fix != "" {
		s += "\n  fix: " + f.Fix
	}
	return s
}

func (f *Failure) Unwrap() error { return f.Err }

func failure(exit int, code, fix, format string, args ...any) *Failure {
	return &Failure{Code: code, Exit: exit, Err: fmt.Errorf(format, args...), Fix: fix}
}

func input(code, fix, format string, args ...any) *Failure {
	return failure(ExitInput, code, fix, format, args...)
}

func environment(code, fix, format string, args ...any) *Failure {
	return failure(ExitEnvironment, code, fix, format, args...)
}

// classify gives every error a code and an exit code.
func classify(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	if _, ok := errors.AsType[catalog.Problems](err); ok {
		return &Failure{Code: "catalog.invalid", Exit: ExitInput, Err: err, Fix: "correct the lines named above; `syncline catalog lint` checks them"}
	}
	return &Failure{Code: "failed", Exit: ExitFailed, Err: err}
}
