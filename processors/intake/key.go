package intake

import (
	"fmt"
	"strings"

	"syncline/schemas/canonical"
)

// maxID bounds a native id in bytes. It is part of every key under which its row
// and its document are kept.
const maxID = 2048

// KeyID is the native id that a decoded key names.
func (s *Source) KeyID(key Image) (string, error) { return s.id(key, s.keyOrder) }

// id makes a row's native id of the values of its key columns. Two keys never
// make one id.
func (s *Source) id(img Image, key []int) (string, error) {
	var room [4]string
	parts := room[:0]
	for n, i := range key {
		if img[i].IsNull() {
			return "", fmt.Errorf("key column %s is missing or NULL", s.Key[n])
		}
		t, err := Text(img[i])
		if err != nil {
			return "", fmt.Errorf("key column %s: %w", s.Key[n], err)
		}
		parts = append(parts, t)
	}
	id := s.Prefix + canonical.JoinKey(parts...)
	for _, other := range s.Others {
		if strings.HasPrefix(id, other) {
			return "", fmt.Errorf("the id %q begins with %q, the prefix of another table of this entity: give this table a prefix of its own in the catalog", clip(id), other)
		}
	}
	return id, checkID(id)
}

// checkID refuses what cannot be kept as the native id of a row or a document.
func checkID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("the id is an empty text: nothing can be found under it")
	case len(id) > maxID:
		return fmt.Errorf("the id has %d bytes, the limit is %d: use another key column", len(id), maxID)
	}
	return nil
}
