package registry

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/avro"
)

// Level says which earlier versions of a subject a new schema must get along
// with, and in which direction. The names are Confluent's.
type Level string

// The levels. BACKWARD: the new schema reads data of the latest version.
// FORWARD: the latest version reads data of the new schema. FULL: both. The
// TRANSITIVE ones hold against every version, not only the latest.
const (
	LevelNone               Level = "NONE"
	LevelBackward           Level = "BACKWARD"
	LevelBackwardTransitive Level = "BACKWARD_TRANSITIVE"
	LevelForward            Level = "FORWARD"
	LevelForwardTransitive  Level = "FORWARD_TRANSITIVE"
	LevelFull               Level = "FULL"
	LevelFullTransitive     Level = "FULL_TRANSITIVE"
)

// ErrInvalidLevel is wrapped by the error of [ParseLevel].
var ErrInvalidLevel = errors.New("invalid compatibility level")

// ParseLevel reads a level's name, in any case.
func ParseLevel(s string) (Level, error) {
	switch l := Level(strings.ToUpper(s)); l {
	case LevelNone, LevelBackward, LevelBackwardTransitive, LevelForward, LevelForwardTransitive, LevelFull, LevelFullTransitive:
		return l, nil
	}
	return "", fmt.Errorf("%w %q: it is one of NONE, BACKWARD, FORWARD, FULL, or one of the last three with _TRANSITIVE", ErrInvalidLevel, clip(s))
}

func (l Level) transitive() bool { return strings.HasSuffix(string(l), "_TRANSITIVE") }

func (l Level) backward() bool {
	return strings.HasPrefix(string(l), "BACKWARD") || strings.HasPrefix(string(l), "FULL")
}

func (l Level) forward() bool {
	return strings.HasPrefix(string(l), "FORWARD") || strings.HasPrefix(string(l), "FULL")
}

// Check reports why candidate may not follow the earlier schemas of a subject
// (oldest first) at a level; no reasons mean that it may. It judges by the
// rules of Avro schema resolution as github.com/twmb/avro reads them, which
// refuses more than Confluent's checker in one place: a changed decimal
// precision or scale. Nothing is cached between calls, so the answer depends
// on the arguments alone. Errors wrap [ErrInvalidSchema] or [ErrInvalidLevel].
func Check(level Level, candidate string, earlier []string) ([]string, error) {
	level, err := ParseLevel(string(level))
	if err != nil {
		return nil, err
	}
	parsed, err := parseSchema(candidate)
	if err != nil {
		return nil, err
	}
	versions := make([]numbered, len(earlier))
	for i, text := range earlier {
		old, err := parseSchema(text)
		if err != nil {
			return nil, fmt.Errorf("reading version %d: %w", i+1, err)
		}
		versions[i] = numbered{version: i + 1, schema: old}
	}
	return check(level, PolicyStandard, parsed, versions), nil
}

// numbered is a schema as a version of a subject.
type numbered struct {
	version int
	schema  *schema
}

// check compares candidate with the versions that level calls for.
func check(level Level, policy Policy, candidate *schema, versions []numbered) []string {
	if level == LevelNone || len(versions) == 0 {
		return nil
	}
	if !level.transitive() {
		versions = versions[len(versions)-1:]
	}
	var reasons []string
	for _, v := range versions {
		if level.backward() {
			if err := avro.CheckCompatibility(v.schema.avro, candidate.avro); err != nil {
				reasons = append(reasons, fmt.Sprintf("the new schema cannot read data of version %d: %s", v.version, describe(err)))
			}
		}
		if level.forward() {
			if err := avro.CheckCompatibility(candidate.avro, v.schema.avro); err != nil {
				reasons = append(reasons, fmt.Sprintf("version %d cannot read data of the new schema: %s", v.version, describe(err)))
			}
		}
		if policy == PolicyStrict {
			for _, f := range compareRelease(v.schema.root, candidate.root) {
				reasons = append(reasons, fmt.Sprintf("against version %d: %s", v.version, f))
			}
		}
	}
	return reasons
}

func describe(err error) string {
	var ce *avro.CompatibilityError
	if !errors.As(err, &ce) {
		return err.Error()
	}
	var types string
	switch {
	case ce.ReaderType != "" && ce.WriterType != "":
		types = fmt.Sprintf(" (reader %s, writer %s)", clip(ce.ReaderType), clip(ce.WriterType))
	case ce.ReaderType != "":
		types = fmt.Sprintf(" (reader %s)", clip(ce.ReaderType))
	}
	return fmt.Sprintf("at %s: %s%s", ce.Path, ce.Detail, types)
}
