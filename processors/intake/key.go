package intake

import (
	"fmt"
	"strings"

	"syncline/schemas/canonical"
)

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
	if err := canonical.BoundedID(id); err != nil {
		return "", fmt.Errorf("key column %s: %w", strings.Join(s.Key, ", "), err)
	}
	return id, nil
}
