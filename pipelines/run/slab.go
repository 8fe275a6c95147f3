package run

import "github.com/twmb/franz-go/pkg/kgo"

// slab holds the records of one transaction where they do not move: the client
// keeps pointers to them until they are written. Some of its memory serves the
// next transaction too.
type slab struct {
	chunks [][]kgo.Record // all but the last are full
	spare  [][]kgo.Record
}

const (
	slabChunk = 512
	slabSpare = 16
)

func (s *slab) add(r kgo.Record) {
	n := len(s.chunks)
	if n == 0 || len(s.chunks[n-1]) == slabChunk {
		var chunk []kgo.Record
		if k := len(s.spare); k > 0 {
			chunk, s.spare = s.spare[k-1], s.spare[:k-1]
		} else {
			chunk = make([]kgo.Record, 0, slabChunk)
		}
		s.chunks = append(s.chunks, chunk)
		n++
	}
	s.chunks[n-1] = append(s.chunks[n-1], r)
}

func (s *slab) empty() bool { return len(s.chunks) == 0 }

// reset forgets all records. The client must be done with them.
func (s *slab) reset() {
	for _, chunk := range s.chunks {
		if len(s.spare) == slabSpare {
			break
		}
		clear(chunk)
		s.spare = append(s.spare, chunk[:0])
	}
	clear(s.chunks)
	s.chunks = s.chunks[:0]
}
