package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"syncline/deploy/embedded/broker"
	"syncline/deploy/embedded/engine"
	"syncline/deploy/embedded/filelock"
)

// Options says how a platform runs. Only Dir is needed.
type Options struct {
	// Dir is the platform's own directory; it is made if absent.
	Dir string
	// Log gets the life of the children; nil discards.
	Log *slog.Logger
	// Progress gets a line for what takes long, such as fetching the
	// ClickHouse library; nil discards.
	Progress io.Writer
	// ClickHouseAddr is the host:port of a ClickHouse HTTP interface to use
	// instead of starting one (CLICKHOUSE_ADDR in the environment of the command).
	ClickHouseAddr string
	// Brokers are the addresses of a Kafka to use instead of starting a broker.
	Brokers []string
	// ClickHouseMemory bounds the engine's memory in bytes; 0 means 3 GiB.
	ClickHouseMemory int64
	// Ports on 127.0.0.1; the zero value takes any free one.
	BrokerPort, RegistryPort, ClickHousePort Port
	// Sync has the broker write each batch through to disk, so that a power cut
	// takes nothing that was acknowledged.
	Sync bool
	// Cache replaces the user's cache for the ClickHouse library.
	Cache *engine.Cache
}

// Port is a port to listen on. The one that was found stays over restarts of the
// child.
type Port struct {
	Number int // 0 is any free one
	// OrNext takes the next free port where Number is taken, and says so.
	OrNext bool
}

// PortTakenError says that the port asked for is another program's.
type PortTakenError struct {
	Child string // whose port it was to be
	Port  int
}

func (e *PortTakenError) Error() string {
	return fmt.Sprintf("port %d, which %s was to listen on, is taken by another program", e.Port, e.Child)
}

// portsTried bounds the search for a free port next to the one asked for.
const portsTried = 100

// Addresses says where a platform listens.
type Addresses struct {
	Brokers     []string `json:"brokers"`
	RegistryURL string   `json:"registry_url"`
	ClickHouse  string   `json:"clickhouse"`
	// OwnClickHouse says that ClickHouse is the platform's own, with the logins
	// that ReadCredentials gives.
	OwnClickHouse bool           `json:"own_clickhouse"`
	Pids          map[string]int `json:"pids"`
}

// Platform is a running broker, registry and ClickHouse. It is safe for
// concurrent use.
type Platform struct {
	options  Options
	unlock   func()
	children map[string]*child
	order    []string // of starting; stopping goes the other way
	failed   chan error
	torn     chan struct{}
	external string // the ClickHouse address given by the caller
	// credentials of the platform's own ClickHouse; nil with an external one.
	credentials *Credentials
	// started says that children does not change any more.
	started  atomic.Bool
	stopOnce sync.Once
	stopErr  error
}

// errStopped is what an action on a stopped platform gets.
var errStopped = errors.New("the platform is stopped")

// Start runs a platform over options.Dir and returns when all of it answers.
// On an error nothing is left running.
func Start(ctx context.Context, options Options) (_ *Platform, err error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Progress == nil {
		options.Progress = io.Discard
	}
	if options.Dir == "" {
		return nil, errors.New("starting the embedded platform: no directory is given")
	}
	if options.Dir, err = filepath.Abs(options.Dir); err != nil {
		return nil, fmt.Errorf("resolving the platform's directory: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(options.Dir, "logs"), 0o700); err != nil {
		return nil, fmt.Errorf("making the platform's directory: %w", err)
	}
	unlock, err := filelock.Try(filepath.Join(options.Dir, "platform.lock"))
	if errors.Is(err, filelock.ErrLocked) {
		return nil, fmt.Errorf("a platform already runs over %s: stop it first or use another directory: %w", options.Dir, err)
	}
	if err != nil {
		return nil, err
	}
	p := &Platform{options: options, unlock: unlock, children: map[string]*child{}, failed: make(chan error, 8), torn: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			_ = p.Stop(context.WithoutCancel(ctx))
		}
	}()
	engineArgs, err := p.engineArgs(ctx)
	if err != nil {
		return nil, err
	}
	if len(options.Brokers) == 0 {
		if err := p.start(ctx, BrokerName, options.BrokerPort, "--dir", filepath.Join(options.Dir, "broker"), "--sync="+strconv.FormatBool(options.Sync)); err != nil {
			return nil, err
		}
	}
	if err := p.start(ctx, RegistryName, options.RegistryPort, "--brokers", p.Brokers()[0]); err != nil {
		return nil, err
	}
	if engineArgs != nil {
		if err := p.start(ctx, EngineName, options.ClickHousePort, engineArgs...); err != nil {
			return nil, err
		}
	}
	p.started.Store(true)
	if err := p.writeState(); err != nil {
		return nil, err
	}
	return p, nil
}

// noteChange keeps the process ids in the state file right after a crash.
func (p *Platform) noteChange() {
	if !p.started.Load() {
		return
	}
	if !p.Unclean().IsZero() {
		select {
		case p.torn <- struct{}{}:
		default: // told already
		}
	}
	if err := p.writeState(); err != nil {
		p.options.Log.Warn("keeping the platform's state file", "error", err)
	}
}

// engineArgs chooses the way to an engine; nil means that none is started.
func (p *Platform) engineArgs(ctx context.Context) ([]string, error) {
	var cache engine.Cache
	if p.options.Cache != nil {
		cache = *p.options.Cache
	} else if p.options.ClickHouseAddr == "" {
		var err error
		if cache, err = engine.UserCache(p.options.Progress); err != nil {
			return nil, err
		}
	}
	source, err := engine.Choose(ctx, p.options.ClickHouseAddr, cache, p.options.Log)
	if err != nil {
		return nil, err
	}
	if source.Kind == engine.KindAddress {
		p.external = source.Addr
		return nil, nil
	}
	credentials, err := makeCredentials(p.options.Dir)
	if err != nil {
		return nil, err
	}
	p.credentials = &credentials
	args := []string{
		"--dir", filepath.Join(p.options.Dir, "clickhouse"), "--memory", strconv.FormatInt(p.options.ClickHouseMemory, 10),
		"--credentials", p.options.Dir,
	}
	switch source.Kind {
	case engine.KindBinary:
		return append(args, "--binary", source.Path), nil
	case engine.KindLibrary:
		return append(args, "--library", source.Path), nil
	}
	return nil, fmt.Errorf("unknown way to an engine: %s", source.Kind)
}

func (p *Platform) start(ctx context.Context, name string, port Port, args ...string) error {
	begun := time.Now()
	c := &child{
		name: name, args: args, port: port.Number, logPath: filepath.Join(p.options.Dir, "logs", name+".log"),
		log: p.options.Log, progress: p.options.Progress, failed: p.failed, changed: p.noteChange,
	}
	for {
		if port.Number != 0 && taken(ctx, c.port) {
			if !port.OrNext || c.port >= port.Number+portsTried {
				return &PortTakenError{Child: name, Port: c.port}
			}
			c.port++
			continue
		}
		err := c.begin(ctx)
		if err == nil {
			break
		}
		// Another program may have been quicker than the child.
		if port.Number == 0 || !taken(ctx, c.port) {
			return err
		}
	}
	if c.port != port.Number && port.Number != 0 {
		fmt.Fprintf(p.options.Progress, "port %d is taken by another program: %s listens on %d\n", port.Number, name, c.port)
	}
	p.children[name] = c
	p.order = append(p.order, name)
	p.options.Log.Info("child ready", "child", name, "addr", c.address(), "pid", c.pid(), "took", time.Since(begun))
	return nil
}

// Brokers lists the Kafka brokers.
func (p *Platform) Brokers() []string {
	if c, ok := p.children[BrokerName]; ok {
		return []string{c.address()}
	}
	return p.options.Brokers
}

// RegistryURL is the schema registry's URL.
func (p *Platform) RegistryURL() string { return "http://" + p.children[RegistryName].address() }

// ClickHouseAddr is the host:port of ClickHouse's HTTP interface.
func (p *Platform) ClickHouseAddr() string {
	if c, ok := p.children[EngineName]; ok {
		return c.address()
	}
	return p.external
}

// Credentials gives the logins of the platform's own ClickHouse; false if an
// external one is used, whose logins the caller knows.
func (p *Platform) Credentials() (Credentials, bool) {
	if p.credentials == nil {
		return Credentials{}, false
	}
	return *p.credentials, true
}

// Unclean gives the time at which an unclean end of the broker was noticed
// that nobody has settled yet; the zero time if there is none. What the broker
// had acknowledged is there, but of a transaction a part may be; see [Platform.Settle].
func (p *Platform) Unclean() time.Time {
	if c, ok := p.children[BrokerName]; ok {
		return c.lastReady().Unclean
	}
	return time.Time{}
}

// Torn tells, once each time, that the broker has come back by itself after an
// unclean end: see Unclean.
func (p *Platform) Torn() <-chan struct{} { return p.torn }

// Settle drops the note of an unclean end. Call it when all that was written in
// transactions has been made anew.
func (p *Platform) Settle() error {
	c, ok := p.children[BrokerName]
	if !ok {
		return nil
	}
	if err := broker.Accept(filepath.Join(p.options.Dir, "broker")); err != nil {
		return err
	}
	c.settle()
	return nil
}

// Pids gives the children's process ids; a child that is down has none.
func (p *Platform) Pids() map[string]int {
	pids := map[string]int{}
	for name, c := range p.children {
		if pid := c.pid(); pid != 0 {
			pids[name] = pid
		}
	}
	return pids
}

// Failed gives an error when a child crashed so often that it is left down.
func (p *Platform) Failed() <-chan error { return p.failed }

func (p *Platform) child(name string) (*child, error) {
	c, ok := p.children[name]
	if !ok {
		return nil, fmt.Errorf("the platform runs no %q", name)
	}
	return c, nil
}

// Restart ends a child cleanly and starts it again at its address.
func (p *Platform) Restart(ctx context.Context, name string) error {
	if err := p.Down(ctx, name); err != nil {
		return err
	}
	return p.Up(ctx, name)
}

// Kill ends a child with SIGKILL, as a crash would; the platform starts it
// again by itself. It returns when the process is gone.
func (p *Platform) Kill(name string) error {
	c, err := p.child(name)
	if err != nil {
		return err
	}
	return c.kill()
}

// Down ends a child cleanly and leaves it down until Up.
func (p *Platform) Down(ctx context.Context, name string) error {
	c, err := p.child(name)
	if err != nil {
		return err
	}
	return c.end(ctx)
}

// Up starts a child that is down, at its old address, and waits until it is
// ready. It does nothing if the child is up.
func (p *Platform) Up(ctx context.Context, name string) error {
	c, err := p.child(name)
	if err != nil {
		return err
	}
	if err := c.begin(ctx); err != nil {
		return err
	}
	return p.writeState()
}

// Stop ends all children, the broker last, and frees the directory. Only the
// first call counts.
func (p *Platform) Stop(ctx context.Context) error {
	p.stopOnce.Do(func() {
		var errs []error
		for _, v := range slices.Backward(p.order) {
			c := p.children[v]
			if err := c.close(ctx); err != nil {
				errs = append(errs, fmt.Errorf("stopping %s: %w", c.name, err))
			}
		}
		_ = os.Remove(statePath(p.options.Dir))
		p.unlock()
		p.stopErr = errors.Join(errs...)
	})
	return p.stopErr
}

func statePath(dir string) string { return filepath.Join(dir, "platform.json") }

// writeState leaves the addresses for other processes; see ReadAddresses.
func (p *Platform) writeState() error {
	raw, err := json.MarshalIndent(Addresses{
		Brokers: p.Brokers(), RegistryURL: p.RegistryURL(), ClickHouse: p.ClickHouseAddr(),
		OwnClickHouse: p.credentials != nil, Pids: p.Pids(),
	}, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(p.options.Dir, "platform-*.json")
	if err != nil {
		return fmt.Errorf("writing the platform's addresses: %w", err)
	}
	_, err = f.Write(append(raw, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing the platform's addresses: %w", err)
	}
	return os.Rename(f.Name(), statePath(p.options.Dir))
}

// ReadAddresses gives the addresses of the platform that runs over dir, from
// another process. The error wraps fs.ErrNotExist when none was started.
func ReadAddresses(dir string) (Addresses, error) {
	var a Addresses
	raw, err := os.ReadFile(statePath(dir))
	if err != nil {
		return a, fmt.Errorf("reading the addresses of the platform over %s: %w", dir, err)
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, fmt.Errorf("reading the addresses of the platform over %s: %w", dir, err)
	}
	return a, nil
}

func taken(ctx context.Context, port int) bool {
	l, err := listen(ctx, port)
	if err != nil {
		return true
	}
	_ = l.Close() // nobody has connected to it
	return false
}

func portOf(addr string) int {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	port, _ := strconv.Atoi(text)
	return port
}
