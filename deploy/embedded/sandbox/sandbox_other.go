//go:build !linux

package sandbox

import "errors"

// ErrUnavailable is returned everywhere but on Linux.
var ErrUnavailable = errors.New("there is no Landlock on this system")

// Exec does nothing here.
func Exec(Reach, []string) error { return ErrUnavailable }
