package projection

import (
	"encoding/binary"
	"math/bits"
)

// Readers return the place after what they read, or one of these.
const (
	truncated = -1
	overlong  = -2
	badLength = -3
)

func varintError(at int) error {
	switch at {
	case overlong:
		return ErrBadVarint
	case badLength:
		return ErrBadLength
	default:
		return ErrTruncated
	}
}

// lengthError says what is wrong with a length that does not fit into the rest
// of the record: a negative one never could.
func lengthError(size int64) error {
	if size < 0 {
		return ErrBadLength
	}
	return ErrTruncated
}

// highBits are the bits that say that a number goes on in the next byte.
const highBits = 0x8080808080808080

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// readLong reads a zigzag number of up to 10 bytes. Most are of one byte; the
// hottest callers look for that themselves.
func readLong(data []byte, at int) (int64, int) {
	if at < len(data) && data[at] < 0x80 {
		return unzigzag(uint64(data[at])), at + 1
	}
	return longSlow(data, at)
}

//go:noinline
func longSlow(data []byte, at int) (int64, int) {
	if len(data)-at >= 8 {
		v := binary.LittleEndian.Uint64(data[at:])
		if ends := ^v & highBits; ends != 0 {
			// Up to the first byte below 0x80, then close the gaps between the
			// groups of seven bits: pairs, fours, all eight.
			v &= (ends ^ (ends - 1)) &^ highBits
			v = v&0x007f007f007f007f | v&0x7f007f007f007f00>>1
			v = v&0x00003fff00003fff | v&0x3fff00003fff0000>>2
			v = v&0x000000000fffffff | v&0x0fffffff00000000>>4
			return unzigzag(v), at + bits.TrailingZeros64(ends)/8 + 1
		}
	}
	var u uint64
	for shift := 0; at < len(data); shift += 7 {
		c := data[at]
		at++
		if c < 0x80 {
			if shift == 63 && c > 1 {
				return 0, overlong
			}
			u |= uint64(c) << shift
			return unzigzag(u), at
		}
		if shift == 63 {
			return 0, overlong
		}
		u |= uint64(c&0x7f) << shift
	}
	return 0, truncated
}

// readInt reads a zigzag number of up to 5 bytes and 32 bits.
func readInt(data []byte, at int) (int64, int) {
	if at < len(data) && data[at] < 0x80 {
		return unzigzag(uint64(data[at])), at + 1
	}
	return intSlow(data, at)
}

//go:noinline
func intSlow(data []byte, at int) (int64, int) {
	var u uint32
	for shift := 0; at < len(data); shift += 7 {
		c := data[at]
		at++
		if c < 0x80 {
			if shift == 28 && c > 0x0f {
				return 0, overlong
			}
			u |= uint32(c) << shift
			return int64(int32(u>>1) ^ -int32(u&1)), at
		}
		if shift == 28 {
			return 0, overlong
		}
		u |= uint32(c&0x7f) << shift
	}
	return 0, truncated
}

// skipLongVarint steps over a number of at most limit bytes: 5 for an int, 10
// for a long. It accepts what readInt and readLong accept.
func skipLongVarint(data []byte, at, limit int) int {
	if len(data)-at >= 8 {
		// The byte that ends the number is the first one below 0x80.
		ends := ^binary.LittleEndian.Uint64(data[at:]) & highBits
		if n := bits.TrailingZeros64(ends)/8 + 1; n <= 8 && (limit == 10 || n < 5) {
			return at + n
		}
	}
	for i := 1; at < len(data); i++ {
		c := data[at]
		at++
		if c < 0x80 {
			if i == 5 && limit == 5 && c > 0x0f || i == 10 && c > 1 {
				return overlong
			}
			return at
		}
		if i == limit {
			return overlong
		}
	}
	return truncated
}

// skipBytes steps over a string or bytes.
func skipBytes(data []byte, at int) int {
	size, at := readLong(data, at)
	if at < 0 {
		return at
	}
	if size < 0 {
		return badLength
	}
	if size > int64(len(data)-at) {
		return truncated
	}
	return at + int(size)
}
