package engine

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// npm is a stand-in for the npm command: it notes each call and copies an
// archive, or does what the given shell lines say.
func npm(t *testing.T, archive []byte, lines string) (command, calls string) {
	t.Helper()
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	tgz := filepath.Join(dir, "lib.tgz")
	if err := os.WriteFile(tgz, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	command = filepath.Join(dir, "npm")
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >> '%s'\n%s\ncp '%s' \"$5/\"\n", calls, lines, tgz)
	if err := os.WriteFile(command, []byte(script), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	return command, calls
}

func archived(t *testing.T, content string) ([]byte, artifact) {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	files := tar.NewWriter(zipped)
	for name, text := range map[string]string{"package/index.js": "x", "package/libchdb.so": content} {
		if err := files.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(files, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	whole, library := sha512.Sum512(out.Bytes()), sha256.Sum256([]byte(content))
	return out.Bytes(), artifact{
		pack: "@test/lib", integrity: base64.StdEncoding.EncodeToString(whole[:]), sha256: hex.EncodeToString(library[:]),
		size: int64(len(content)), fetch: int64(out.Len()),
	}
}

func TestLibraryIsFetchedOnceByManyStarts(t *testing.T) {
	archive, pinned := archived(t, "the library")
	command, calls := npm(t, archive, "")
	dir := t.TempDir()
	var starts sync.WaitGroup
	for range 8 {
		starts.Go(func() {
			var progress bytes.Buffer
			path, err := Cache{Dir: dir, Npm: command, Progress: &progress, platform: "linux/amd64", pinned: &pinned}.Library(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if content, err := os.ReadFile(path); err != nil || string(content) != "the library" {
				t.Errorf("library holds %q, %v", content, err)
			}
		})
	}
	starts.Wait()
	said, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(said), "\n"); n != 1 || !strings.Contains(string(said), "pack @test/lib@"+libraryVersion) {
		t.Errorf("npm was called %d times: %s", n, said)
	}
}

func TestFailedFetchSaysWhyAndLeavesNothing(t *testing.T) {
	archive, pinned := archived(t, "the library")
	other, _ := archived(t, "a library!!")
	wrongFile := pinned
	wrongFile.sha256 = strings.Repeat("0", 64)
	huge := pinned
	huge.fetch = 1 << 60
	for _, c := range []struct {
		name    string
		archive []byte
		pinned  artifact
		lines   string
		want    string
	}{
		{"another archive", other, pinned, "", "checksum mismatch: the archive"},
		{"another library", archive, wrongFile, "", "checksum mismatch: libchdb.so"},
		{"half an archive", archive[:len(archive)/2], pinned, "", "archive"},
		{"npm fails", archive, pinned, "echo no route to registry >&2; exit 3", "no route to registry"},
		{"npm gives nothing", archive, pinned, "exit 0", "0 archives"},
		{"no space", archive, huge, "", "make room"},
	} {
		t.Run(c.name, func(t *testing.T) {
			command, _ := npm(t, c.archive, c.lines)
			dir := t.TempDir()
			_, err := Cache{Dir: dir, Npm: command, platform: "linux/amd64", pinned: &c.pinned}.Library(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
			_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() && d.Name() != ".lock" {
					t.Errorf("left behind: %s", path)
				}
				return err
			})
		})
	}
}

func TestPlatformWithoutLibrary(t *testing.T) {
	for platform, want := range map[string]string{"plan9/386": "CLICKHOUSE_ADDR", "linux/arm64": "no checksum"} {
		if _, err := (Cache{Dir: t.TempDir(), platform: platform}).Library(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want one with %q", platform, err, want)
		}
	}
}

func TestChooseTakesTheFirstWayThatWorks(t *testing.T) {
	archive, pinned := archived(t, "the library")
	command, _ := npm(t, archive, "")
	cache := Cache{Dir: t.TempDir(), Npm: command, platform: "linux/amd64", pinned: &pinned}
	log := slog.New(slog.DiscardHandler)
	bin := t.TempDir()
	binary := filepath.Join(bin, "clickhouse")
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	write := func(version string) {
		if err := os.WriteFile(binary, []byte("#!/bin/sh\necho 'ClickHouse local version "+version+"'\n"), 0o700); err != nil { //nolint:gosec // it is run
			t.Fatal(err)
		}
	}
	choose := func(addr string) Source {
		t.Helper()
		source, err := Choose(t.Context(), addr, cache, log)
		if err != nil {
			t.Fatal(err)
		}
		return source
	}
	if s := choose(""); s.Kind != KindLibrary {
		t.Errorf("without a binary: %+v", s)
	}
	write("18.16.1")
	if s := choose(""); s.Kind != KindLibrary {
		t.Errorf("with a binary that is too old: %+v", s)
	}
	write("26.3.1.1 (official build)")
	if s := choose(""); s.Kind != KindBinary || s.Path != binary {
		t.Errorf("with a binary: %+v", s)
	}
	if s := choose("ch:8123"); s.Kind != KindAddress || s.Addr != "ch:8123" {
		t.Errorf("with an address: %+v", s)
	}
	if err := os.Remove(binary); err != nil {
		t.Fatal(err)
	}
	cache.Npm, cache.Dir = "/nowhere/npm", t.TempDir()
	if _, err := Choose(t.Context(), "", cache, log); err == nil || !strings.Contains(err.Error(), "CLICKHOUSE_ADDR") || !strings.Contains(err.Error(), "npm") {
		t.Errorf("without any way the error is %v", err)
	}
}

// The library is code that is loaded: what lies in the cache counts only with
// its checksum, which is not taken again as long as the file is the same one.
func TestLibraryIsCheckedByItsChecksum(t *testing.T) {
	archive, pinned := archived(t, "the library")
	command, calls := npm(t, archive, "")
	var progress bytes.Buffer
	cache := Cache{Dir: t.TempDir(), Npm: command, Progress: &progress, platform: "linux/amd64", pinned: &pinned}
	path, err := cache.Library(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	library := func(want string, fetches int) {
		t.Helper()
		if _, err := cache.Library(t.Context()); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil || string(content) != want {
			t.Errorf("the library holds %q, %v; want %q", content, err, want)
		}
		said, err := os.ReadFile(calls)
		if n := strings.Count(string(said), "\n"); err != nil || n != fetches {
			t.Errorf("npm was called %d times, %v; want %d", n, err, fetches)
		}
	}
	replace := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Same place, size and time: taken for the same, without reading it.
	replace("the lobster")
	if err := os.Chtimes(path, at.ModTime(), at.ModTime()); err != nil {
		t.Fatal(err)
	}
	library("the lobster", 1)
	// Another time, and another file at its place: read, and replaced.
	replace("the lobster")
	library("the library", 2)
	if !strings.Contains(progress.String(), "is not the pinned ClickHouse library") {
		t.Errorf("the replacement was not said: %s", &progress)
	}
	beside := path + ".new"
	if err := os.WriteFile(beside, []byte("the lobster"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chtimes(beside, at.ModTime(), at.ModTime()), os.Rename(beside, path)); err != nil {
		t.Fatal(err)
	}
	library("the library", 3)
	// A note that is lost or nonsense costs a look, no fetch.
	if err := os.WriteFile(checkedPath(path), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	library("the library", 3)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/hostname", path); err != nil {
		t.Fatal(err)
	}
	library("the library", 4)
}
