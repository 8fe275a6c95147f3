package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// FrameSize is the length in bytes of the header before an Avro body: the
// magic byte 0 and the schema id as four bytes, most significant first
// (Confluent wire format, version 0).
const FrameSize = 5

// ErrFrame is wrapped by every error of [Unframe]: the bytes are not an Avro
// body in Confluent framing. Reading them again cannot help.
var ErrFrame = errors.New("not a framed Avro record")

// Frame returns payload behind the header for schema id. The id must be one
// that a registry gave out (1 to 2^31-1); other ids make bytes that [Unframe]
// refuses.
func Frame(id int, payload []byte) []byte {
	return append(AppendFrame(make([]byte, 0, FrameSize+len(payload)), id), payload...)
}

// AppendFrame appends the header for schema id to dst, so that the body can
// be encoded straight behind it.
func AppendFrame(dst []byte, id int) []byte {
	dst = append(dst, 0)
	return binary.BigEndian.AppendUint32(dst, uint32(id)) //nolint:gosec // the caller's id comes from a registry
}

// Unframe splits b into its schema id and body. The body aliases b and may be
// empty (the record of a schema without fields). Errors wrap [ErrFrame].
func Unframe(b []byte) (id int, payload []byte, err error) {
	if len(b) < FrameSize {
		return 0, nil, fmt.Errorf("%w: %d bytes, a frame has at least %d", ErrFrame, len(b), FrameSize)
	}
	if b[0] != 0 {
		return 0, nil, fmt.Errorf("%w: first byte is 0x%02x, the Confluent magic byte is 0x00", ErrFrame, b[0])
	}
	raw := binary.BigEndian.Uint32(b[1:FrameSize])
	if raw == 0 || raw > math.MaxInt32 {
		return 0, nil, fmt.Errorf("%w: schema id %d, ids go from 1 to %d", ErrFrame, raw, math.MaxInt32)
	}
	return int(raw), b[FrameSize:], nil
}
