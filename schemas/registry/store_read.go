package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// marshal writes compact JSON without escaping <, > and &, which would make
// a record of a schema several times its size.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// find gives id and version of a schema in a subject.
func (s *store) find(subject string, sc *schema) (id, version int, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i, e := range s.subjects[subject] {
		if e.digest == sc.digest {
			return e.id, i + 1, true
		}
	}
	return 0, 0, false
}

// predecessors gives the level that holds for a subject and its versions.
func (s *store) predecessors(subject string) (Level, []numbered, error) {
	level, versions := s.effectiveLevel(subject), s.versions(subject)
	out := make([]numbered, 0, len(versions))
	for i, e := range versions {
		if level == LevelNone {
			break
		}
		if !level.transitive() && i < len(versions)-1 {
			continue
		}
		sc, err := e.parsed()
		if err != nil {
			return level, nil, fmt.Errorf("%w: %q version %d (id %d) cannot be compared with: %w", errStore, subject, i+1, e.id, err)
		}
		out = append(out, numbered{i + 1, sc})
	}
	return level, out, nil
}

func (s *store) entryByID(id int) (*entry, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, ok := s.byID[id]
	return e, ok
}

// versions lists a subject's schemas, oldest first; nil if there is none. The
// slice is never written to.
func (s *store) versions(subject string) []*entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.subjects[subject]
}

func (s *store) subjectNames() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.subjects))
}

func (s *store) usedBy(id int) []usage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.using[id])
}

func (s *store) largestID() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.maxID
}

// levelOf gives a subject's own level, or the global one under "".
func (s *store) levelOf(subject string) (Level, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	level, ok := s.levels[subject]
	if !ok && subject == "" {
		return s.cfg.DefaultLevel, true
	}
	return level, ok
}

func (s *store) effectiveLevel(subject string) Level {
	if level, ok := s.levelOf(subject); ok {
		return level
	}
	level, _ := s.levelOf("")
	return level
}
