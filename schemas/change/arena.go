package change

// Arena holds decoded rows and fields that are all given up at once, so that
// documents that are looked at and forgotten cost no allocation each. The zero
// value is ready; it serves one goroutine.
type Arena struct {
	rows   chunks[Row]
	values chunks[Value]
}

// Reset gives up everything that was decoded into the arena.
func (a *Arena) Reset() {
	a.rows.reset()
	a.values.reset()
}

// keptItems bounds what an arena keeps for the next use.
const keptItems = 4096

// chunks hands out slices of one growing piece of memory; those handed out stay
// where they are.
type chunks[T any] struct {
	free []T // unused rest of last
	last []T
}

// take returns n zero items, nil for none.
func (c *chunks[T]) take(n int) []T {
	if n == 0 {
		return nil
	}
	if n > len(c.free) {
		c.last = make([]T, max(n, min(2*len(c.last), keptItems)))
		c.free = c.last
	}
	out := c.free[:n:n]
	c.free = c.free[n:]
	return out
}

func (c *chunks[T]) reset() {
	if len(c.last) > keptItems {
		c.last = nil
	}
	clear(c.last[:len(c.last)-min(len(c.free), len(c.last))])
	c.free = c.last
}
