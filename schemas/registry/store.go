package registry

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"
)

// errStore is wrapped by every failure of the log or of what stands in it.
var errStore = errors.New("schema log")

// errFull says that a registration would pass a limit of the whole registry.
var errFull = errors.New("the registry is full")

// incompatibleError is a registration that the level of its subject forbids.
type incompatibleError struct{ reasons []string }

func (e *incompatibleError) Error() string {
	return fmt.Sprintf("incompatible: %d reasons", len(e.reasons))
}

// entry is a registered schema. It never changes.
type entry struct {
	id     int
	text   string
	digest [32]byte
	// parsed is worked out when first needed: a log from an older release may
	// hold what this one would not accept, and that must not stop the start.
	parsed func() (*schema, error)
}

// store is the fold of a log. Reads of what has been folded take mu only;
// whatever touches the log holds turn, so that there is one reader and writer
// of it in this process.
type store struct {
	cfg  Config
	log  *slog.Logger
	turn chan struct{} // of capacity 1; a mutex that a context can give up on

	mu        sync.RWMutex
	next      int64 // log offset to go on from
	freshAt   time.Time
	byID      map[int]*entry
	byDigest  map[[32]byte]*entry
	subjects  map[string][]*entry // index = version - 1
	using     map[int][]usage
	levels    map[string]Level // "" is the global one
	maxID     int
	textBytes int
}

type usage struct {
	subject string
	version int
}

// The records. Struct order makes the keys' bytes the same every time, which
// is what compaction goes by. A claim's key is its own, so that the log keeps
// every claim and the first one stays the first; a level's key is shared, and
// the last value counts. Nothing is a tombstone: the last record of a
// compacted topic then always exists, and the end can be reached.
type recordKey struct {
	Format  int    `json:"syncline"` // 1; tells this log from other registries'
	Kind    string `json:"kind"`     // "schema" or "level"
	Subject string `json:"subject"`
	Version int    `json:"version,omitempty"`
	Claim   string `json:"claim,omitempty"`
}

type schemaValue struct {
	ID     int    `json:"id"`
	Schema string `json:"schema"`
}

type levelValue struct {
	Level Level `json:"level"` // "" takes it away
}

const (
	recordFormat = 1
	kindSchema   = "schema"
	kindLevel    = "level"
	// maxTries bounds the retries of a registration whose claims others beat.
	maxTries = 16
)

func openStore(ctx context.Context, cfg Config) (*store, error) {
	s := &store{
		cfg: cfg, log: cfg.Logger, turn: make(chan struct{}, 1),
		byID: map[int]*entry{}, byDigest: map[[32]byte]*entry{},
		subjects: map[string][]*entry{}, using: map[int][]usage{}, levels: map[string]Level{},
	}
	if err := s.catchUp(ctx, nil); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *store) lock(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for another request: %w", errStore, ctx.Err())
	}
}

func (s *store) unlock() { <-s.turn }

// catchUp folds what the log holds beyond next. The caller holds turn (or is
// alone). saw, if not nil, is told each claim.
func (s *store) catchUp(ctx context.Context, saw func(claim string)) error {
	started := s.cfg.now()
	next, err := s.cfg.Log.Read(ctx, s.next, func(key, value []byte) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.fold(key, value, saw)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = max(s.next, next)
	if err != nil {
		return fmt.Errorf("%w: reading it from offset %d: %w", errStore, s.next, err)
	}
	s.freshAt = started
	return nil
}

// refresh catches up unless that has been done a moment ago. An answer of "no
// such thing" is given only after it: it must be true of the log.
func (s *store) refresh(ctx context.Context) error {
	asked := s.cfg.now()
	if s.freshSince(asked.Add(-s.cfg.RefreshEvery)) {
		return nil
	}
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	if s.freshSince(asked.Add(-s.cfg.RefreshEvery)) { // by who held the turn before
		return nil
	}
	return s.catchUp(ctx, nil)
}

func (s *store) freshSince(t time.Time) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.freshAt.After(t)
}

// fold applies one record. What it refuses with an error stops the registry;
// a claim that came too late is void and only reported.
func (s *store) fold(key, value []byte, saw func(string)) error {
	var k recordKey
	if err := json.Unmarshal(key, &k); err != nil || k.Format != recordFormat {
		return fmt.Errorf("a record has the key %q: the log was written by something else; give the registry a topic of its own", clip(string(key)))
	}
	switch k.Kind {
	case kindSchema:
		var v schemaValue
		if err := json.Unmarshal(value, &v); err != nil {
			return fmt.Errorf("the record of %q version %d cannot be read: %w", clip(k.Subject), k.Version, err)
		}
		if saw != nil {
			saw(k.Claim)
		}
		return s.foldClaim(k, v)
	case kindLevel:
		var v levelValue
		if err := json.Unmarshal(value, &v); err != nil {
			return fmt.Errorf("the level of %q cannot be read: %w", clip(k.Subject), err)
		}
		if v.Level == "" {
			delete(s.levels, k.Subject)
			return nil
		}
		level, err := ParseLevel(string(v.Level))
		if err != nil {
			return fmt.Errorf("the level of %q: %w", clip(k.Subject), err)
		}
		s.levels[k.Subject] = level
		return nil
	}
	return fmt.Errorf("a record has the kind %q, which this release does not know; use the release that wrote it or a later one", clip(k.Kind))
}

func (s *store) foldClaim(k recordKey, v schemaValue) error {
	if v.ID < 1 || v.ID > math.MaxInt32 || k.Version < 1 {
		return fmt.Errorf("%q version %d claims id %d: ids and versions go from 1 to 2^31-1", clip(k.Subject), k.Version, v.ID)
	}
	digest, err := digestJSON(v.Schema)
	if err != nil {
		return fmt.Errorf("%q version %d, id %d: %w", clip(k.Subject), k.Version, v.ID, err)
	}
	s.maxID = max(s.maxID, v.ID)
	versions := s.subjects[k.Subject]
	void := ""
	switch known, byID, byText := len(versions), s.byID[v.ID], s.byDigest[digest]; {
	case byID != nil && byID.digest != digest:
		void = "the id belongs to another schema"
	case byText != nil && byText.id != v.ID:
		void = fmt.Sprintf("the schema has the id %d", byText.id)
	case k.Version != known+1:
		void = fmt.Sprintf("the subject's next version is %d", known+1)
	case slices.ContainsFunc(versions, func(e *entry) bool { return e.digest == digest }):
		void = "the subject has the schema already"
	}
	if void != "" {
		s.log.Warn("void claim in the schema log: another registry was faster, or an append landed late",
			"subject", k.Subject, "version", k.Version, "id", v.ID, "reason", void)
		return nil
	}
	e := s.byID[v.ID]
	if e == nil {
		text := v.Schema
		e = &entry{id: v.ID, text: text, digest: digest, parsed: sync.OnceValues(func() (*schema, error) { return parseSchema(text) })}
		s.byID[v.ID], s.byDigest[digest] = e, e
		s.textBytes += len(text)
	}
	s.subjects[k.Subject] = append(versions[:len(versions):len(versions)], e)
	s.using[v.ID] = append(s.using[v.ID], usage{k.Subject, k.Version})
	return nil
}

// register gives the id of sc in subject, registering it if need be. Errors:
// errStore, errFull, or an incompatibleError.
func (s *store) register(ctx context.Context, subject string, sc *schema) (int, error) {
	if id, _, ok := s.find(subject, sc); ok {
		return id, nil // a registration, once read from the log, stands for ever
	}
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.unlock()
	if err := s.catchUp(ctx, nil); err != nil {
		return 0, err
	}
	for range maxTries {
		if id, _, ok := s.find(subject, sc); ok {
			return id, nil
		}
		level, versions, err := s.predecessors(subject)
		if err != nil {
			return 0, err
		}
		if reasons := check(level, s.cfg.Policy, sc, versions); len(reasons) > 0 {
			return 0, &incompatibleError{reasons}
		}
		if err := s.claim(ctx, subject, sc); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("%w: %d claims in a row came too late; too many registries write to one log", errStore, maxTries)
}

// claim appends one claim and reads the log up to it. Whether it counts, the
// fold has decided.
func (s *store) claim(ctx context.Context, subject string, sc *schema) error {
	id, version, text, err := s.place(subject, sc)
	if err != nil {
		return err
	}
	var nonce [16]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return fmt.Errorf("%w: making a claim: %w", errStore, err)
	}
	claim := hex.EncodeToString(nonce[:])
	key := recordKey{Format: recordFormat, Kind: kindSchema, Subject: subject, Version: version, Claim: claim}
	if err := s.append(ctx, key, schemaValue{ID: id, Schema: text}); err != nil {
		return err
	}
	seen := false
	if err := s.catchUp(ctx, func(c string) { seen = seen || c == claim }); err != nil {
		return err
	}
	if !seen {
		return fmt.Errorf("%w: an acknowledged record is not in it; is it being trimmed or read from another place than written?", errStore)
	}
	return nil
}

// place chooses id and version for a schema that its subject lacks.
func (s *store) place(subject string, sc *schema) (id, version int, text string, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	version = len(s.subjects[subject]) + 1
	if version > s.cfg.MaxVersions {
		return 0, 0, "", fmt.Errorf("%w: subject %q has %d versions, the most that are allowed", errFull, subject, s.cfg.MaxVersions)
	}
	if _, known := s.subjects[subject]; !known && len(s.subjects) >= s.cfg.MaxSubjects {
		return 0, 0, "", fmt.Errorf("%w: it has %d subjects, the most that are allowed", errFull, len(s.subjects))
	}
	if e := s.byDigest[sc.digest]; e != nil {
		return e.id, version, e.text, nil
	}
	id = max(s.cfg.FirstID, s.maxID+1)
	if s.textBytes+len(sc.text) > s.cfg.MaxTextBytes || id > math.MaxInt32 {
		return 0, 0, "", fmt.Errorf("%w: its schemas have %d bytes of text, at most %d are allowed", errFull, s.textBytes, s.cfg.MaxTextBytes)
	}
	return id, version, sc.text, nil
}

func (s *store) append(ctx context.Context, key recordKey, value any) error {
	k, err := marshal(key)
	if err != nil {
		return err
	}
	v, err := marshal(value)
	if err != nil {
		return err
	}
	if err := s.cfg.Log.Append(ctx, k, v); err != nil {
		return fmt.Errorf("%w: appending to it (the outcome is unknown, asking again is safe): %w", errStore, err)
	}
	return nil
}

// setLevel sets the level of a subject, or the global one under "". An empty
// level takes it away.
func (s *store) setLevel(ctx context.Context, subject string, level Level) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	if err := s.catchUp(ctx, nil); err != nil {
		return err
	}
	s.mu.RLock()
	_, known := s.levels[subject]
	count := len(s.levels)
	s.mu.RUnlock()
	if !known && level != "" && count >= s.cfg.MaxSubjects {
		return fmt.Errorf("%w: %d subjects have a level of their own, the most that are allowed", errFull, count)
	}
	key := recordKey{Format: recordFormat, Kind: kindLevel, Subject: subject}
	if err := s.append(ctx, key, levelValue{Level: level}); err != nil {
		return err
	}
	return s.catchUp(ctx, nil)
}
