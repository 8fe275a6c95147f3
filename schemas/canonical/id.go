package canonical

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // UUIDv5 is defined by it
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"syncline/schemas/change"
)

// EntityID derives the canonical id of a source row: UUIDv5 (RFC 9562, 5.5) in
// the URL namespace over "syncline:<instance>/<entity>/<native id>". It depends
// on nothing else, so a rebuild from the first offset gives the same ids.
func EntityID(instance, entity, nativeID string) change.ID {
	var space [128]byte // spares the heap for ids of usual length
	name := append(space[:0], uuid.NameSpaceURL[:]...)
	name = append(append(name, "syncline:"...), instance...)
	name = append(append(name, '/'), entity...)
	name = append(append(name, '/'), nativeID...)
	sum := sha1.Sum(name) //nolint:gosec // what UUIDv5 is made of; guards nothing
	id := change.ID(sum[:16])
	id[6] = id[6]&0x0f | 5<<4 // version
	id[8] = id[8]&0x3f | 0x80 // variant
	return id
}

// JoinKey joins the parts of a key with slashes. Where a part holds a slash
// itself, each has its length in bytes and a colon before it ("5:EU/DE/2:19"), so
// that two keys of as many parts never become one text; keys without such a part
// are as they read. A key of one part is that part.
func JoinKey(parts ...string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	return string(AppendKey(nil, parts...))
}

// AppendKey appends what JoinKey returns.
func AppendKey(b []byte, parts ...string) []byte {
	size, slashes := 0, 0
	for _, p := range parts {
		size += len(p) + 1
		slashes += strings.Count(p, "/")
	}
	b = slices.Grow(b, size)
	for i, p := range parts {
		if i > 0 {
			b = append(b, '/')
		}
		if slashes > 0 && len(parts) > 1 {
			b = append(strconv.AppendInt(b, int64(len(p)), 10), ':')
		}
		b = append(b, p...)
	}
	return b
}

// IDText is the usual text form of an id; "" for none.
func IDText(id change.ID) string {
	if id.IsZero() {
		return ""
	}
	return uuid.UUID(id).String()
}

// Payment is the entity name under which payments have their ids; a payment is
// a link row of an invoice.
const Payment = "payment"

// CompareIDs orders native ids: numbers by value and before other texts, other
// texts by bytes. "9" comes before "10".
func CompareIDs(a, b string) int {
	na, nb := numeric(a), numeric(b)
	switch {
	case na && nb:
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	case na:
		return -1
	case nb:
		return 1
	default:
		return strings.Compare(a, b)
	}
}

func numeric(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
