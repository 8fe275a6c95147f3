package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Mode is how a proxy treats its connections.
type Mode int

// The modes.
const (
	Plain Mode = iota
	// Cut ends every connection and takes no new one.
	Cut
	// Slow holds back every answer for a while.
	Slow
	// Lost lets requests through and ends the connection instead of giving the
	// answer: what was asked for has happened, and who asked cannot know.
	Lost
)

var spoilt = []Mode{Cut, Slow, Lost}

// String is the mode in words.
func (m Mode) String() string {
	return [...]string{"plain", "connections cut", "answers slow", "replies lost after effect"}[m]
}

// slowness is how long an answer is held back.
const slowness = 300 * time.Millisecond

// dialWithin bounds how long a target may take to accept.
const dialWithin = 10 * time.Second

// Proxy hands connections on to a target and spoils them when told to. It is
// safe for concurrent use.
type Proxy struct {
	listener net.Listener
	stop     context.CancelFunc
	done     sync.WaitGroup

	mu     sync.Mutex
	target string
	mode   Mode
	closed bool
	open   map[net.Conn]bool
}

// NewProxy listens on a free port of 127.0.0.1. The target may be set later.
func NewProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("making a proxy for %s: %w", target, err)
	}
	life, stop := context.WithCancel(context.Background())
	p := &Proxy{listener: l, stop: stop, target: target, open: map[net.Conn]bool{}}
	p.done.Go(func() { p.accept(life) })
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Port is the number of its port.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port } //nolint:forcetypeassert // a TCP listener

// SetTarget says where new connections go.
func (p *Proxy) SetTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Set changes the mode; connections that are there follow.
func (p *Proxy) Set(m Mode) {
	p.mu.Lock()
	p.mode = m
	p.mu.Unlock()
	if m == Cut {
		p.drop()
	}
}

// Close ends all connections and the listener.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.stop()
	p.drop()
	p.done.Wait()
}

func (p *Proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		breakOff(c)
	}
}

func (p *Proxy) now() (target string, mode Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.target, p.mode
}

// keep notes a connection until it ends; false where the proxy has closed.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.mode == Cut {
		breakOff(c)
		return false
	}
	p.open[c] = true
	return true
}

// breakOff ends a connection as a crash or a broken link does, by a reset: an
// orderly end would say that the target is there and wants no more.
func breakOff(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (p *Proxy) forget(c net.Conn) {
	breakOff(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

func (p *Proxy) accept(life context.Context) {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if p.keep(client) {
			p.done.Go(func() { p.serve(life, client) })
		}
	}
}

func (p *Proxy) serve(life context.Context, client net.Conn) {
	defer p.forget(client)
	target, _ := p.now()
	dialer := net.Dialer{Timeout: dialWithin}
	server, err := dialer.DialContext(life, "tcp", target)
	if err != nil || !p.keep(server) {
		return
	}
	defer p.forget(server)
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	p.answer(client, server)
	breakOff(client)
	both.Wait()
}

// answer hands the target's bytes back, as the mode says at that moment.
func (p *Proxy) answer(client io.Writer, server io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := server.Read(buffer)
		switch _, mode := p.now(); mode {
		case Lost:
			return
		case Slow:
			timer := time.NewTimer(slowness)
			<-timer.C
		case Plain, Cut:
		}
		if n > 0 {
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
