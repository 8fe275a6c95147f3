//go:build !unix

package engine

import "io/fs"

func freeSpace(string) (uint64, bool) { return 0, false }

// inode is 0: files have no number here.
func inode(fs.FileInfo) uint64 { return 0 }
