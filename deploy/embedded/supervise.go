package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

const (
	// A child that crashes maxCrashes times within crashWindow is left down.
	maxCrashes  = 5
	crashWindow = time.Minute
	firstWait   = 200 * time.Millisecond
	longestWait = 5 * time.Second
)

// child is a child over all its lives: it is up, or down by request, or being
// started again after a crash.
type child struct {
	name     string
	args     []string
	port     int
	logPath  string
	log      *slog.Logger
	progress io.Writer
	failed   chan<- error
	changed  func()

	// act serialises begin, end, kill and close; mu guards the fields below
	// and is never held while waiting for a process.
	act     sync.Mutex
	mu      sync.Mutex
	process *process
	last    ready
	closed  bool
	// asked says that the process was killed by request: no crash of its own.
	asked bool
	// cancel ends the supervision of the current life; done tells that it ended.
	cancel context.CancelFunc
	done   chan struct{}
}

func (c *child) address() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last.Addr
}

func (c *child) lastReady() ready {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// settle forgets that the last start found an unclean end.
func (c *child) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last.Unclean = time.Time{}
}

func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return 0
	}
	return c.process.cmd.Process.Pid
}

func (c *child) running() *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.process
}

// life starts a process at the child's port; the first one settles the port.
func (c *child) life(ctx context.Context) (*process, error) {
	p, err := launch(ctx, c.name, append([]string{"--port", strconv.Itoa(c.port)}, c.args...), c.logPath)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.process, c.last = p, p.ready
	if c.port == 0 {
		c.port = portOf(p.ready.Addr)
	}
	return p, nil
}

func (c *child) begin(ctx context.Context) error {
	c.act.Lock()
	defer c.act.Unlock()
	if c.closed {
		return errStopped
	}
	if c.cancel != nil {
		select {
		case <-c.done: // left down after too many crashes
			c.cancel()
		default:
			return nil
		}
	}
	p, err := c.life(ctx)
	if err != nil {
		return err
	}
	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel, c.done = cancel, make(chan struct{})
	go func(done chan<- struct{}) {
		err := c.watch(watch, p)
		close(done) // before it is said: who hears of it may begin anew at once
		if !errors.Is(err, context.Canceled) {
			c.giveUp(err)
		}
	}(c.done)
	return nil
}

// watch starts the child again each time it ends without being asked to, until
// ctx ends or the child crashes too often: its error says which.
func (c *child) watch(ctx context.Context, p *process) error {
	var crashes []time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		reason := p.reason(c.logPath)
		c.mu.Lock()
		c.process = nil
		if c.asked {
			c.asked, crashes = false, nil
		}
		c.mu.Unlock()
		for p = nil; p == nil; {
			now := time.Now()
			crashes = append(crashes, now)
			for now.Sub(crashes[0]) > crashWindow {
				crashes = crashes[1:]
			}
			if len(crashes) > maxCrashes {
				return fmt.Errorf("%s ended %d times within %s and is left down: %s", c.name, len(crashes), crashWindow, reason)
			}
			wait := min(firstWait<<(len(crashes)-1), longestWait)
			c.log.Warn("child ended by itself and is started again", "child", c.name, "in", wait, "crashes", len(crashes), "reason", reason)
			fmt.Fprintf(c.progress, "%s ended by itself; starting it again in %s (log: %s)\n", c.name, wait, c.logPath)
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			case <-timer.C:
			}
			var err error
			if p, err = c.life(ctx); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				reason = err.Error()
			}
		}
		c.log.Info("child is up again", "child", c.name, "addr", p.ready.Addr, "pid", p.cmd.Process.Pid)
		c.changed()
	}
}

func (c *child) giveUp(err error) {
	c.log.Error("child is left down", "child", c.name, "error", err)
	fmt.Fprintln(c.progress, err)
	select {
	case c.failed <- err:
	default:
	}
}

// end stops supervision and process, cleanly.
func (c *child) end(ctx context.Context) error {
	c.act.Lock()
	defer c.act.Unlock()
	return c.endLocked(ctx)
}

func (c *child) endLocked(ctx context.Context) error {
	if c.cancel == nil {
		return nil
	}
	c.cancel()
	<-c.done
	c.cancel = nil
	p := c.running()
	if p == nil {
		return nil
	}
	err := p.stop(ctx)
	c.mu.Lock()
	c.process = nil
	c.mu.Unlock()
	return err
}

func (c *child) close(ctx context.Context) error {
	c.act.Lock()
	defer c.act.Unlock()
	c.closed = true
	return c.endLocked(ctx)
}

func (c *child) kill() error {
	c.mu.Lock()
	p := c.process
	c.asked = p != nil
	c.mu.Unlock()
	if p == nil {
		return fmt.Errorf("%s is not running", c.name)
	}
	p.kill()
	return nil
}
