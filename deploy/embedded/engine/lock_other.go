//go:build !unix

package engine

import "context"

// There is no library for these platforms, so nothing is fetched.

func lockFile(context.Context, string) (func(), error) { return func() {}, nil }

func freeSpace(string) (uint64, bool) { return 0, false }
