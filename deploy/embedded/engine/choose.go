package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// Kind is one of the three ways to an engine.
type Kind string

// The ways to an engine, in the order they are tried.
const (
	KindAddress Kind = "address"
	KindBinary  Kind = "binary"
	KindLibrary Kind = "library"
)

// Source is a way to an engine, found by Choose.
type Source struct {
	Kind Kind
	// Addr is the host:port of the HTTP interface, with KindAddress.
	Addr string
	// Path is the binary or the library otherwise.
	Path string
}

// oldestServer is the first major version whose protocol and SQL the project
// relies on; distributions carry much older ones.
const oldestServer = 24

// Choose finds the way to an engine: addr if it is not empty, else a
// clickhouse binary on PATH, else the library, which is fetched if the cache
// has none. The error says what each way lacked and what to do.
func Choose(ctx context.Context, addr string, cache Cache, log *slog.Logger) (Source, error) {
	if addr != "" {
		return Source{Kind: KindAddress, Addr: addr}, nil
	}
	path, binaryErr := findBinary(ctx)
	if binaryErr == nil {
		return Source{Kind: KindBinary, Path: path}, nil
	}
	if !errors.Is(binaryErr, exec.ErrNotFound) {
		log.Warn("not using the clickhouse binary", "path", path, "error", binaryErr)
	}
	library, err := cache.Library(ctx)
	if err != nil {
		return Source{}, fmt.Errorf("no ClickHouse engine: CLICKHOUSE_ADDR is not set; clickhouse binary: %w; library: %w", binaryErr, err)
	}
	return Source{Kind: KindLibrary, Path: library}, nil
}

var versionPattern = regexp.MustCompile(`version (\d+)\.\d+`)

func findBinary(ctx context.Context) (string, error) {
	path, err := exec.LookPath("clickhouse")
	if err != nil {
		return "", exec.ErrNotFound
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "local", "--version").CombinedOutput()
	if err != nil {
		return path, fmt.Errorf("asking %s for its version: %w: %s", path, err, tail(string(out), 300))
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return path, fmt.Errorf("%s gives no version: %q", path, tail(string(out), 300))
	}
	if major, _ := strconv.Atoi(string(m[1])); major < oldestServer {
		return path, fmt.Errorf("%s is version %s and at least %d is needed", path, m[1], oldestServer)
	}
	return path, nil
}
