package clickhouse

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"syncline/schemas/change"
)

// piece is what one insert takes: parts of a batch in order of partition, each
// with the range of offsets that it settles.
type piece struct {
	parts   []change.Part
	topicID string // "" where the broker has none
	rows    int
}

// split cuts a batch into pieces of at most maxRows records and, as far as
// single records allow, maxBytes of values. The cut depends on the batch alone,
// so a batch that is sent again has the same pieces. The ranges of a
// partition's pieces follow one on the other without a gap: once the first k
// are written, their greatest _last is where to go on.
func split(b change.Batch, maxRows, maxBytes int) ([]piece, error) {
	parts := slices.Clone(b.Parts)
	slices.SortStableFunc(parts, func(a, b change.Part) int { return int(a.Partition) - int(b.Partition) })
	var (
		out   []piece
		cur   piece
		bytes int
	)
	for i, part := range parts {
		if err := sound(part); err != nil {
			return nil, err
		}
		if i > 0 && parts[i-1].Partition == part.Partition {
			return nil, fmt.Errorf("partition %d is there twice", part.Partition)
		}
		first, from := part.First, 0
		for j, r := range part.Records {
			if cur.rows > 0 && (cur.rows >= maxRows || bytes+len(r.Value) > maxBytes) {
				if j > from {
					cur.parts = append(cur.parts, change.Part{Partition: part.Partition, First: first, Last: r.Offset - 1, Records: part.Records[from:j]})
					first, from = r.Offset, j
				}
				out, cur, bytes = append(out, cur), piece{}, 0
			}
			cur.rows++
			bytes += len(r.Value)
		}
		// A part without records settles nothing: no row could hold its range.
		if from < len(part.Records) {
			cur.parts = append(cur.parts, change.Part{Partition: part.Partition, First: first, Last: part.Last, Records: part.Records[from:]})
		}
	}
	if cur.rows > 0 {
		out = append(out, cur)
	}
	for i := range out {
		out[i].topicID = topicText(b.TopicID)
	}
	return out, nil
}

// sound checks what the recorded range relies on.
func sound(p change.Part) error {
	if p.Partition < 0 || p.First < 0 || p.Last < p.First {
		return fmt.Errorf("partition %d has the range %d to %d", p.Partition, p.First, p.Last)
	}
	next := p.First
	for _, r := range p.Records {
		if r.Offset < next || r.Offset > p.Last {
			return fmt.Errorf("partition %d, offsets %d to %d, holds offset %d where at least %d was due: offsets must rise within the range", p.Partition, p.First, p.Last, r.Offset, next)
		}
		next = r.Offset + 1
	}
	return nil
}

var errUnsound = errors.New("unsound batch")

// token names exactly this piece: topic, ranges, columns and content. The
// server drops an insert whose token it knows, so two different pieces must
// never share one, not even those of a topic that was made anew.
func (p piece) token(topic, statement string) string {
	var b strings.Builder
	b.WriteString(topic)
	h := xxhash.New()
	_, _ = h.WriteString(statement) // hashes do not fail
	var n [8]byte
	for _, part := range p.parts {
		fmt.Fprintf(&b, ":%d:%d-%d", part.Partition, part.First, part.Last)
		for _, r := range part.Records {
			binary.LittleEndian.PutUint64(n[:], uint64(r.Offset)) //nolint:gosec // hashed only
			_, _ = h.Write(n[:])
			binary.LittleEndian.PutUint64(n[:], uint64(len(r.Value)))
			_, _ = h.Write(n[:])
			_, _ = h.Write(r.Value)
		}
	}
	b.WriteByte(':')
	b.WriteString(strconv.FormatUint(h.Sum64(), 16))
	return b.String()
}

// String names the ranges for messages.
func (p piece) String() string { return ranges(p.parts) }

func ranges(parts []change.Part) string {
	const most = 4
	var out []string
	for _, part := range parts[:min(most, len(parts))] {
		out = append(out, fmt.Sprintf("partition %d offsets %d to %d", part.Partition, part.First, part.Last))
	}
	if len(parts) > most {
		out = append(out, fmt.Sprintf("and %d more partitions", len(parts)-most))
	}
	return strings.Join(out, ", ")
}
