package httpcall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"syncline/sinks"
)

// Pair is a login that renews itself: an access token and what the next one is
// got with, which works once.
type Pair struct {
	Access  string `json:"access"`
	Refresh string `json:"refresh"`
}

// Tokens keeps a pair in a file. Whoever renews it holds a lock on a file beside
// it, so that there is one refresher whatever the number of processes, and a new
// pair is on the disk before it is used. Safe for concurrent use.
type Tokens struct {
	path  string
	renew func(ctx context.Context, refresh string) (Pair, error)
	mu    sync.Mutex
}

// NewTokens returns the store in the file, which has to be there. renew asks the
// target for the next pair; it returns sinks.ErrAuth where the target refuses.
func NewTokens(path string, renew func(ctx context.Context, refresh string) (Pair, error)) *Tokens {
	return &Tokens{path: path, renew: renew}
}

// Read returns the pair that is stored.
func (t *Tokens) Read() (Pair, error) {
	b, err := os.ReadFile(t.path)
	if err != nil {
		return Pair{}, fmt.Errorf("reading the login: %w", err)
	}
	var p Pair
	if err := json.Unmarshal(b, &p); err != nil || p.Access == "" {
		return Pair{}, fmt.Errorf("%s: not a pair of tokens", t.path)
	}
	return p, nil
}

// Write stores a pair, also a person's new one.
func (t *Tokens) Write(p Pair) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(t.path), ".tokens-*") // 0600
	if err != nil {
		return fmt.Errorf("storing the login: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("storing the login: %w", err)
	}
	return os.Rename(f.Name(), t.path)
}

// Renew replaces the access token that the target did not accept, unless
// somebody has done so already.
func (t *Tokens) Renew(ctx context.Context, stale string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	lock, err := os.OpenFile(t.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("locking the login: %w", err)
	}
	defer lock.Close() // unlocks
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("locking the login: %w", err)
	}
	stored, err := t.Read()
	if err != nil || stored.Access != stale {
		return err
	}
	next, err := t.renew(ctx, stored.Refresh)
	if err == nil {
		return t.Write(next)
	}
	// Somebody without our lock may have been faster.
	if again, readErr := t.Read(); readErr == nil && again.Access != stale {
		return nil
	}
	if !errors.Is(err, sinks.ErrAuth) {
		return fmt.Errorf("renewing the login: %w", err)
	}
	return err
}
