package registry

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// Config is what a [Server] needs. Only Log is required.
type Config struct {
	// Log holds everything that the registry knows.
	Log Log
	// FirstID is the id of the first schema of an empty log; the default is
	// 1. In a log with ids it matters only if it is above the largest.
	FirstID int
	// DefaultLevel holds where no level is set; the default is BACKWARD.
	DefaultLevel Level
	// Policy is what is asked beyond Avro's rules; the default is standard.
	Policy Policy
	// StoreTimeout bounds the work on the log for one request; the default
	// is 10 s. Beyond it the answer is error 50001.
	StoreTimeout time.Duration
	// RefreshEvery is how old the knowledge of the log may be when it is
	// asked for something that other registries on the log may have added.
	// The default is 100 ms; a negative value reads it every time.
	RefreshEvery time.Duration
	// MaxSubjects bounds the subjects; the default is 20,000.
	MaxSubjects int
	// MaxVersions bounds the versions of one subject; the default is 1,000.
	MaxVersions int
	// MaxTextBytes bounds the text of all schemas together; the default is
	// 256 MiB.
	MaxTextBytes int
	// Logger gets void claims and store errors; the default discards them.
	Logger *slog.Logger
	// Now is the clock; the default is time.Now.
	Now func() time.Time
}

func (c Config) now() time.Time { return c.Now() }

// withDefaults fills in what is left open and refuses what cannot be.
func (c Config) withDefaults() (Config, error) {
	if c.Log == nil {
		return c, errors.New("registry: Config.Log is missing: give it a log, for trials NewMemoryLog()")
	}
	setDefault(&c.FirstID, 1)
	setDefault(&c.DefaultLevel, LevelBackward)
	setDefault(&c.Policy, PolicyStandard)
	setDefault(&c.StoreTimeout, 10*time.Second)
	setDefault(&c.RefreshEvery, 100*time.Millisecond)
	setDefault(&c.MaxSubjects, 20_000)
	setDefault(&c.MaxVersions, 1_000)
	setDefault(&c.MaxTextBytes, 256<<20)
	c.RefreshEvery = max(c.RefreshEvery, 0)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.FirstID < 1 || c.FirstID > math.MaxInt32 {
		return c, fmt.Errorf("registry: Config.FirstID is %d: ids go from 1 to 2^31-1", c.FirstID)
	}
	level, err := ParseLevel(string(c.DefaultLevel))
	if err != nil {
		return c, fmt.Errorf("registry: Config.DefaultLevel: %w", err)
	}
	c.DefaultLevel = level
	if c.Policy != PolicyStandard && c.Policy != PolicyStrict {
		return c, fmt.Errorf("registry: Config.Policy is %q: it is standard or strict", c.Policy)
	}
	if c.StoreTimeout < 0 || c.MaxSubjects < 0 || c.MaxVersions < 0 || c.MaxTextBytes < 0 {
		return c, errors.New("registry: Config: a limit or time-out is negative")
	}
	return c, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
