package intake

import (
	"testing"

	"syncline/schemas/change"
)

// What a transaction that was thrown away has counted is counted once when its
// records come again.
func TestThrownAwayChangesAreNotCounted(t *testing.T) {
	w := tell(t, invoices())
	count := func() int64 {
		w.apply(opCreate, map[string]change.Value{"state": change.OfString("p")})
		c, _ := w.op.Flush()
		return c.Received
	}
	if n := count(); n != 1 {
		t.Fatalf("counted %d, want 1", n)
	}
	w.store.Commit()
	if n := count(); n != 2 {
		t.Fatalf("counted %d, want 2", n)
	}
	w.store.Rollback()
	w.op.Reset()
	if n := count(); n != 2 {
		t.Errorf("after a transaction that was thrown away: counted %d, want 2", n)
	}
}
