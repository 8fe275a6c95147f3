// Package sandbox starts the running program anew with less of the machine in
// reach, so that what a library inside it does on request, such as reading files
// for SQL, ends at the kernel, by whatever way it was asked. It needs Linux with
// Landlock (5.13; for the network 6.7).
package sandbox

import "os"

// Reach is what the program can still reach.
type Reach struct {
	// Write lists folders in which everything may be done but running programs.
	Write []string
	// Read lists files and folders that may be read, programs run. What the
	// program itself and the libraries it has loaded are read from is added.
	Read []string
	// Environment is what the program gets, as name=value.
	Environment []string
	// Keep stays open, under its number; nil for none.
	Keep *os.File
}
