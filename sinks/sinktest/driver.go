package sinktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"syncline/sinks"
)

// Clock is a virtual clock: it stands still until somebody moves it.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

var dawn = time.Date(2026, 1, 5, 6, 0, 0, 0, time.UTC)

// NewClock returns a clock that shows the same time in every trial.
func NewClock() *Clock { return &Clock{now: dawn} }

// Now is the time of day.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Mono is a monotonic clock.
func (c *Clock) Mono() time.Duration { return c.Now().Sub(dawn) }

// Advance moves it.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(max(d, 0))
}

// driver does with one command at a time what the dispatch hop does with many:
// it is its specification, with nothing in it of state, transactions and rates.
type driver struct {
	site  Site
	clock *Clock
	w     sinks.Writer
	probe *sinks.Probe

	identity string        // as at first contact
	asked    time.Duration // when it was compared last
	stopped  string        // why nothing is called any more
	refusals int           // answers in a row that the login is not valid

	sends  []time.Duration // when requests were begun
	calls  int
	before func()         // runs between a request's intent and its first byte
	permit func() error   // whether it may still go
	kill   func(int) bool // whether the process dies after the n-th call, before its outcome is stored
}

const (
	identityEvery = 5 * time.Minute
	refusalsMost  = 3
	stepsMost     = 400
)

// run takes a command as far as it goes: to its end, to a question, or until the
// target is stopped.
func (d *driver) run(p *sinks.Progress) error {
	for range stepsMost {
		on, err := d.step(p)
		if err != nil || !on {
			return err
		}
	}
	return fmt.Errorf("no end after %d steps: %+v", stepsMost, p)
}

// step does one act; false if there is none to do.
func (d *driver) step(p *sinks.Progress) (bool, error) {
	profile, ok := d.w.Profile(p.Command.Kind)
	if !ok {
		return false, fmt.Errorf("the writer does not know %s", p.Command.Kind)
	}
	act := p.Next(profile, d.clock.Mono(), d.clock.Now())
	switch act.Do {
	case sinks.DoEnd:
		return false, nil
	case sinks.DoAsk:
		p.Question = act.Reason
		return false, nil
	case sinks.DoWait:
		d.clock.Advance(act.Until - d.clock.Mono())
		return true, nil
	}
	// Whatever is called, it is called at the target that was meant.
	if on, err := d.door(profile); !on || err != nil {
		return false, err
	}
	if act.Do == sinks.DoLook {
		d.look(profile, p)
		return true, nil
	}
	return true, d.send(profile, p, act.Do)
}

func (d *driver) door(profile sinks.Profile) (bool, error) {
	if d.identity != "" && d.clock.Mono()-d.asked < identityEvery && d.stopped == "" {
		return true, nil
	}
	var who string
	var err error
	d.call(profile.Limit, func(ctx context.Context) { who, err = d.w.Identity(ctx) })
	if err != nil {
		return false, fmt.Errorf("asking the target who it is: %w", err)
	}
	d.asked = d.clock.Mono()
	switch {
	case d.identity == "":
		d.identity = who
	case who != d.identity:
		d.stopped = "not the target it was: " + who
		return false, nil
	case d.stopped != "" && d.refusals < refusalsMost:
		d.stopped = "" // it is back
	}
	return d.stopped == "", nil
}

func (d *driver) look(profile sinks.Profile, p *sinks.Progress) {
	var found []sinks.Found
	var err error
	d.call(profile.Limit, func(ctx context.Context) { found, err = sinks.Look(ctx, d.w, p.Rest(), d.probe) })
	d.login(errors.Is(err, sinks.ErrAuth))
	p.Looked(profile, found, err, d.clock.Mono())
}

// login counts refusals of the login; a few in a row stop the target, and no command.
func (d *driver) login(refused bool) {
	if !refused {
		d.refusals = 0
		return
	}
	if d.refusals++; d.refusals >= refusalsMost {
		d.stopped = "login"
	}
}

// send writes the intent, makes the call and stores what came of it.
func (d *driver) send(profile sinks.Profile, p *sinks.Progress, do sinks.Do) error {
	r, err := p.Begin(d.w, do, d.clock.Mono(), d.clock.Now())
	if err != nil {
		return nil //nolint:nilerr // it is a question now
	}
	d.sends = append(d.sends, d.clock.Mono())
	if d.before != nil {
		d.before()
	}
	var reply sinks.Reply
	d.call(profile.Limit, func(ctx context.Context) {
		if d.permit != nil {
			ctx = sinks.WithPermit(ctx, d.permit)
		}
		reply, err = d.w.Apply(ctx, r)
	})
	d.calls++
	if d.kill != nil && d.kill(d.calls) {
		return d.restart(p)
	}
	o := d.w.Classify(p.Rest(), r, reply, err)
	d.login(o.Class == sinks.ClassAuth)
	p.Returned(profile, o, d.clock.Mono())
	return nil
}

// restart is another process: a new writer, and of the command what was stored.
func (d *driver) restart(p *sinks.Progress) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	*p = sinks.Progress{}
	if err := json.Unmarshal(b, p); err != nil {
		return err
	}
	p.Restore(d.clock.Mono())
	d.w = d.site.Writer()
	return nil
}

// call runs something that talks to the target. If the target holds it, its time
// passes, and it is given up.
func (d *driver) call(limit time.Duration, do func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(ctx)
	}()
	for {
		select {
		case <-done:
			return
		case <-d.site.Holding():
			d.clock.Advance(limit)
			cancel()
		}
	}
}

// sentBefore says whether a request was begun before a time.
func (d *driver) sentBefore(at time.Duration, but int) bool {
	return slices.ContainsFunc(d.sends[min(but, len(d.sends)):], func(s time.Duration) bool { return s < at })
}
