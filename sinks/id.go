package sinks

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/google/uuid"
)

// namespace is Syncline's own for ids of commands. It must never change: ids are
// in other people's systems.
var namespace = uuid.MustParse("6b1f2c1e-5a0d-5d0c-9a57-2f8f6f0d7c31")

// Wish is what the ids of all commands for one thing have in common. An id is a
// function of what is wanted and of the state that it starts from, never of the
// time, the attempt or chance: whoever wants the same, wants it under the same
// id, and only once.
//
// Ids are UUIDs of version 5 in lower case: one case and a small alphabet, since
// some targets fold case.
type Wish struct {
	Target  string // the target's identity, so that a copy of it has other ids
	Kind    string
	Lane    string
	Element string // of a list in the flow; "" without one
}

// Create returns the id of a create. predecessor is the native id of the lane's
// newest record that is dead, "" for none.
func (w Wish) Create(predecessor string) string { return w.id("create", predecessor) }

// Change returns the id of a change to the wanted values, starting from base, the
// position of the record's row: A to B to A are three changes, and a repeat
// while the feed lags is none.
func (w Wish) Change(wanted Values, base string) (string, error) {
	if err := plain(map[string]any(wanted)); err != nil {
		return "", fmt.Errorf("values of %s for %s: %w", w.Kind, w.Lane, err)
	}
	b, err := json.Marshal(wanted) // names in order
	if err != nil {
		return "", fmt.Errorf("values of %s for %s: %w", w.Kind, w.Lane, err)
	}
	return w.id("change", string(b), base), nil
}

// Reversal returns the id of what takes back the record with this native id.
func (w Wish) Reversal(reversed string) string { return w.id("reversal", reversed) }

// Recurring returns the id of what is wanted once in each period.
func (w Wish) Recurring(period string) string { return w.id("recurring", period) }

func (w Wish) id(variant string, rest ...string) string {
	return derive(namespace, append([]string{variant, w.Target, w.Kind, w.Lane, w.Element}, rest...)...)
}

// VendorKey returns the idempotency key of a call: a function of the command and
// of how often what was stored under the former key has been found useless.
func VendorKey(command, call string, generation int) string {
	return derive(namespace, "key", command, call, strconv.Itoa(generation))
}

// derive makes an id of parts. Each goes in with its length, so that no two
// lists of parts make the same text.
func derive(space uuid.UUID, parts ...string) string {
	var name []byte
	for _, p := range parts {
		name = strconv.AppendInt(name, int64(len(p)), 10)
		name = append(append(name, ':'), p...)
	}
	return uuid.NewSHA1(space, name).String()
}

// plain refuses what has several spellings.
func plain(v any) error {
	switch v := v.(type) {
	case nil, string, bool:
		return nil
	case []any:
		for i, e := range v {
			if err := plain(e); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
		return nil
	case map[string]any:
		for name, e := range v {
			if err := plain(e); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	default:
		return fmt.Errorf("a %T: want texts, truth values, nulls, lists and maps; numbers as decimal text", v)
	}
}
