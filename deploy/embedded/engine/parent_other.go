//go:build !linux

package engine

import "syscall"

// endWithParent has no counterpart here: a server whose parent was killed
// stays and must be ended by hand.
func endWithParent() *syscall.SysProcAttr { return nil }
