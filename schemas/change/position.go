package change

import (
	"cmp"
	"fmt"
)

// Position orders the images of one source row. It is total: two images with
// equal positions are the same change.
//
// For Debezium's PostgreSQL feed it is (epoch, source.lsn, streamed after
// snapshot, transaction.total_order or 0): a snapshot row sorts before every
// streamed change at or after its LSN. Epoch is the catalog's count of restores
// of that database, since a restored database begins at a lower LSN.
type Position struct {
	Epoch    uint32
	Streamed bool
	LSN      int64
	Order    int64
}

// Compare returns -1, 0 or +1.
func (p Position) Compare(q Position) int {
	return cmp.Or(
		cmp.Compare(p.Epoch, q.Epoch),
		cmp.Compare(p.LSN, q.LSN),
		compareBool(p.Streamed, q.Streamed),
		cmp.Compare(p.Order, q.Order),
	)
}

// IsZero reports whether p is no position at all.
func (p Position) IsZero() bool { return p == Position{} }

// String gives epoch/lsn/streamed/order, the form of canonical source_position.
func (p Position) String() string {
	streamed := 0
	if p.Streamed {
		streamed = 1
	}
	return fmt.Sprintf("%d/%d/%d/%d", p.Epoch, p.LSN, streamed, p.Order)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}
