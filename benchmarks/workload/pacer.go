package workload

import (
	"context"
	"time"
)

// pacer lets a number of calls a second through.
type pacer struct {
	every time.Duration
	start time.Time
	n     int64
}

func newPacer(rate float64) *pacer {
	p := &pacer{start: time.Now()}
	if rate > 0 {
		p.every = time.Duration(float64(time.Second) / rate)
	}
	return p
}

// wait returns when it is the next record's turn. It sleeps for a millisecond at
// least, so that high rates come in small bursts and cost no timer per record.
func (p *pacer) wait(ctx context.Context) error {
	if p.every == 0 {
		return nil
	}
	due := time.Duration(p.n) * p.every
	p.n++
	ahead := due - time.Since(p.start)
	if ahead < time.Millisecond {
		return nil
	}
	timer := time.NewTimer(ahead)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
