// Package plainfile opens files that a person has named: regular ones, of a
// bounded size. A named pipe would make the program wait for ever, and a device
// could give bytes for ever.
package plainfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Open opens a regular file, following links. It never waits. The error names the
// file and what it is instead.
func Open(name string) (*os.File, error) {
	name = filepath.Clean(name)
	// A pipe that takes the file's place after a look would block without this.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names operation and file
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is %s: give a regular file", name, kind(info.Mode()))
	}
	if err != nil {
		_ = f.Close() // nothing was read or written
		return nil, err
	}
	return f, nil
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "no regular file"
}

// Read reads a file of at most so many bytes; of a larger one it reads nothing.
func Read(name string, most int) ([]byte, error) {
	f, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tooLarge := fmt.Errorf("%s is larger than %d bytes", name, most)
	if info, err := f.Stat(); err == nil && info.Size() > int64(most) {
		return nil, tooLarge
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(text) > most {
		return nil, tooLarge // it grew, or its size was not told
	}
	return text, nil
}
