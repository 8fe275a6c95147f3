package engine

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"syncline/deploy/embedded/filelock"
)

// libraryVersion is the npm version of libchdb this project is tested with.
const libraryVersion = "26.7.3-stable.1"

// artifact is a pinned npm package that holds libchdb.so for one platform.
// One without checksums is known by name only and is not fetched.
type artifact struct {
	pack      string
	integrity string // npm's integrity of the archive, sha512 in base64
	sha256    string // of libchdb.so
	size      int64  // of libchdb.so, bytes
	fetch     int64  // of the archive, bytes
}

// artifactFor knows the packages by GOOS/GOARCH. To pin a further platform,
// take integrity from `npm view <package>@<version> dist` and the rest from
// the library inside.
func artifactFor(platform string) (artifact, error) {
	a, known := map[string]artifact{
		"linux/amd64": {
			pack:      "@chdb/lib-linux-x64-gnu",
			integrity: "XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw==",
			sha256:    "36ad4e999882821ef13cf2d0f52c93f48e6ee1b4498b35a201c23ce4b8d15bf5",
			size:      566330096,
			fetch:     177817999,
		},
		"linux/arm64":  {pack: "@chdb/lib-linux-arm64-gnu"},
		"darwin/arm64": {pack: "@chdb/lib-darwin-arm64"},
		"darwin/amd64": {pack: "@chdb/lib-darwin-x64"},
	}[platform]
	switch {
	case !known:
		return artifact{}, fmt.Errorf("there is no ClickHouse library for %s: set CLICKHOUSE_ADDR to a running server's HTTP address", platform)
	case a.sha256 == "":
		return artifact{}, fmt.Errorf("the ClickHouse library for %s (npm %s@%s) has no checksum in this project, so it is not fetched: "+
			"put a clickhouse binary on PATH or set CLICKHOUSE_ADDR", platform, a.pack, libraryVersion)
	}
	return a, nil
}

// Cache keeps libchdb for a user. It may be used by several processes at once.
type Cache struct {
	// Dir holds one directory per version; see UserCache.
	Dir string
	// Progress gets a line or two when the library has to be fetched.
	Progress io.Writer
	// Npm is the npm command; "" means npm on PATH.
	Npm string

	// platform and pinned replace the real ones in tests.
	platform string
	pinned   *artifact
}

// UserCache is the cache below os.UserCacheDir.
func UserCache(progress io.Writer) (Cache, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return Cache{}, fmt.Errorf("finding the user's cache directory (set HOME or XDG_CACHE_HOME): %w", err)
	}
	return Cache{Dir: filepath.Join(dir, "syncline", "libchdb"), Progress: progress}, nil
}

// Library returns the path of libchdb.so, fetching it through npm if it is not
// there or is not the pinned one any more. The file appears in one step and only
// after its checksum was right.
func (c Cache) Library(ctx context.Context) (string, error) {
	if c.platform == "" {
		c.platform = runtime.GOOS + "/" + runtime.GOARCH
	}
	if c.Progress == nil {
		c.Progress = io.Discard
	}
	var a artifact
	if c.pinned != nil {
		a = *c.pinned
	} else {
		var err error
		if a, err = artifactFor(c.platform); err != nil {
			return "", err
		}
	}
	home := filepath.Join(c.Dir, libraryVersion+"-"+strings.ReplaceAll(c.platform, "/", "-"))
	path := filepath.Join(home, "libchdb.so")
	if good, err := present(path, a); good || err != nil {
		return path, err
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", fmt.Errorf("making the cache for the ClickHouse library: %w", err)
	}
	unlock, err := filelock.Wait(ctx, filepath.Join(home, ".lock"))
	if err != nil {
		return "", fmt.Errorf("waiting for another process that fetches the ClickHouse library: %w", err)
	}
	defer unlock()
	if good, err := present(path, a); good || err != nil { // that process was quicker
		return path, err
	}
	if _, err := os.Lstat(path); err == nil {
		fmt.Fprintf(c.Progress, "%s is not the pinned ClickHouse library (checksum): it is replaced\n", path)
	}
	if err := c.fetch(ctx, a, home, path); err != nil {
		return "", fmt.Errorf("fetching the ClickHouse library (npm %s@%s): %w", a.pack, libraryVersion, err)
	}
	return path, nil
}

func (c Cache) fetch(ctx context.Context, a artifact, home, path string) error {
	npm := c.Npm
	if npm == "" {
		found, err := exec.LookPath("npm")
		if err != nil {
			return errors.New("npm is not on PATH: install Node.js, or put a clickhouse binary on PATH, or set CLICKHOUSE_ADDR")
		}
		npm = found
	}
	if free, ok := freeSpace(home); ok && free < uint64(a.fetch+a.size) {
		return fmt.Errorf("%s has %d MB free and %d MB are needed: make room or move the cache with XDG_CACHE_HOME",
			home, free>>20, (a.fetch+a.size)>>20)
	}
	removeStale(home)
	work, err := os.MkdirTemp(home, "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	begun := time.Now()
	fmt.Fprintf(c.Progress, "fetching the ClickHouse engine once (%d MB, npm %s@%s) into %s\n", a.fetch>>20, a.pack, libraryVersion, home)
	cmd := exec.CommandContext(ctx, npm, "pack", a.pack+"@"+libraryVersion, "--silent", "--pack-destination", work)
	cmd.Dir = work
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("npm pack failed (is the npm registry reachable?): %w: %s", err, tail(stderr.String(), 2000))
	}
	archives, err := filepath.Glob(filepath.Join(work, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("npm pack left %d archives in %s, not one", len(archives), work)
	}
	unpacked := filepath.Join(work, "libchdb.so")
	if err := unpack(archives[0], unpacked, a); err != nil {
		return err
	}
	if err := os.Rename(unpacked, path); err != nil {
		return err
	}
	noteChecked(path, a.sha256)
	fmt.Fprintf(c.Progress, "the ClickHouse engine is in the cache (%d MB, %.0f s)\n", a.size>>20, time.Since(begun).Seconds())
	return nil
}

// unpack takes libchdb.so out of the archive and checks both checksums before
// it returns.
func unpack(archive, to string, a artifact) (err error) {
	in, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer in.Close()
	whole := sha512.New()
	tee := io.TeeReader(in, whole)
	zipped, err := gzip.NewReader(tee)
	if err != nil {
		return fmt.Errorf("opening the archive: %w", err)
	}
	files := tar.NewReader(zipped)
	var library hash.Hash
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		if header.Typeflag != tar.TypeReg || filepath.Base(header.Name) != "libchdb.so" {
			continue
		}
		if header.Size != a.size {
			return fmt.Errorf("libchdb.so in the archive has %d bytes and the pinned one %d", header.Size, a.size)
		}
		library = sha256.New()
		if err := writeSynced(to, io.TeeReader(files, library)); err != nil {
			return fmt.Errorf("unpacking libchdb.so: %w", err)
		}
	}
	if _, err := io.Copy(io.Discard, tee); err != nil {
		return fmt.Errorf("reading the archive: %w", err)
	}
	if library == nil {
		return errors.New("the archive holds no libchdb.so")
	}
	if got := base64.StdEncoding.EncodeToString(whole.Sum(nil)); got != a.integrity {
		return fmt.Errorf("checksum mismatch: the archive's integrity is sha512-%s and the pinned one sha512-%s: nothing was installed; "+
			"look at the npm registry and proxy in use", got, a.integrity)
	}
	if got := hex.EncodeToString(library.Sum(nil)); got != a.sha256 {
		return fmt.Errorf("checksum mismatch: libchdb.so is sha256 %s and the pinned one %s: nothing was installed", got, a.sha256)
	}
	return nil
}

func writeSynced(path string, r io.Reader) (err error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	defer func() {
		if e := out.Close(); err == nil {
			err = e
		}
	}()
	if _, err := io.Copy(out, r); err != nil {
		return err
	}
	return out.Sync()
}

// removeStale drops what an interrupted fetch left. The caller holds the lock,
// so nobody is using it.
func removeStale(home string) {
	left, _ := filepath.Glob(filepath.Join(home, "fetch-*"))
	for _, dir := range left {
		_ = os.RemoveAll(dir)
	}
}

func tail(text string, n int) string {
	text = strings.TrimSpace(text)
	if len(text) > n {
		text = "..." + text[len(text)-n:]
	}
	return text
}
