package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/deploy/embedded/broker"
	"syncline/deploy/embedded/chfront"
	"syncline/deploy/embedded/engine"
	"syncline/deploy/embedded/loopback"
	"syncline/deploy/embedded/sandbox"
	"syncline/pipelines/run/schemalog"
	"syncline/schemas/registry"
)

// Names of the children, for Restart, Kill, Down and Up.
const (
	BrokerName   = "broker"
	RegistryName = "registry"
	EngineName   = "engine"
)

// ready is the one line a child writes to standard output.
type ready struct {
	Ready   bool      `json:"ready"`
	Addr    string    `json:"addr"`
	Unclean time.Time `json:"unclean,omitzero"`
	Version string    `json:"version,omitempty"`
}

// childFlags are a child's arguments.
type childFlags struct {
	dir, library, binary, brokers, credentials string
	port, logins                               int
	memory                                     int64
	sandboxed, sync                            bool
}

// stopGrace bounds a child's clean end, once asked for.
const stopGrace = 15 * time.Second

// ChildMain runs one of the platform's children if args (os.Args[1:]) ask for
// it, until it is stopped. handled is false when the arguments are another
// command's.
func ChildMain(ctx context.Context, args []string) (handled bool, err error) {
	if len(args) < 2 || args[0] != "internal" {
		return false, nil
	}
	run, ok := map[string]func(context.Context, childFlags, *slog.Logger, func(ready)) error{
		BrokerName: runBroker, RegistryName: runRegistry, EngineName: runEngine,
	}[args[1]]
	if !ok {
		return false, nil
	}
	var f childFlags
	flags := flag.NewFlagSet("internal "+args[1], flag.ContinueOnError)
	flags.StringVar(&f.dir, "dir", "", "data directory")
	flags.IntVar(&f.port, "port", 0, "port on 127.0.0.1, 0 for a free one")
	flags.StringVar(&f.library, "library", "", "path of libchdb")
	flags.StringVar(&f.binary, "binary", "", "path of a clickhouse binary")
	flags.Int64Var(&f.memory, "memory", 0, "the engine's memory limit in bytes")
	flags.StringVar(&f.credentials, "credentials", "", "the platform's directory, with the users of ClickHouse")
	flags.BoolVar(&f.sync, "sync", false, "write each batch through to disk")
	flags.BoolVar(&f.sandboxed, "sandboxed", false, "set by the engine's process when it starts itself anew")
	flags.IntVar(&f.logins, "logins", 0, "number of the open file with the users of ClickHouse, when sandboxed")
	flags.StringVar(&f.brokers, "brokers", "", "broker address")
	if err := flags.Parse(args[2:]); err != nil {
		return true, err
	}
	// A terminal interrupts the whole process group, or hangs up on it; a service
	// manager terminates it: the parent, which has the signal too, decides the order in
	// which its children end, and says so by closing their input.
	// Caught and dropped, not ignored: a program that a child starts would
	// inherit that, and could not be asked to end.
	signal.Notify(make(chan os.Signal, 1), EndSignals()...)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the parent says so, and with the parent
		cancel()
	}()
	context.AfterFunc(ctx, func() {
		// A child must not outlive its parent, whatever hangs.
		time.AfterFunc(stopGrace, func() { os.Exit(3) })
	})
	log := slog.New(slog.NewTextHandler(newBoundedLog(os.Stderr, maxLogBytes), nil)).With("child", args[1])
	said := func(r ready) {
		r.Ready = true
		line, _ := json.Marshal(r) // a plain struct
		fmt.Fprintln(os.Stdout, string(line))
	}
	log.Info("starting", "pid", os.Getpid())
	if err := run(ctx, f, log, said); err != nil {
		log.Error("ended", "error", err)
		return true, fmt.Errorf("%s: %w", args[1], err)
	}
	log.Info("ended")
	return true, nil
}

// EndSignals lists the signals on which a program is to end in order: an
// interrupt, a termination, and the end of its terminal, unless it was started to
// outlive that (nohup).
func EndSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// Main makes a program's children out of the program itself: it runs a child
// if the arguments ask for one, else run, and returns the exit code. In a test
// binary: os.Exit(embedded.Main(m.Run)).
func Main(run func() int) int {
	handled, err := ChildMain(context.Background(), os.Args[1:])
	if !handled {
		return run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runBroker(ctx context.Context, f childFlags, log *slog.Logger, said func(ready)) error {
	b, err := broker.Start(broker.Config{Dir: f.dir, Port: f.port, Sync: f.sync, Log: log})
	if err != nil {
		return err
	}
	said(ready{Addr: b.Addr(), Unclean: b.Unclean()})
	<-ctx.Done()
	return b.Stop()
}

func runEngine(ctx context.Context, f childFlags, log *slog.Logger, said func(ready)) error {
	logins, err := f.readLogins()
	if err != nil {
		return err
	}
	config := engine.Config{Dir: f.dir, MaxMemory: f.memory, Logins: logins}
	if f.binary != "" {
		s, err := engine.StartServer(ctx, f.binary, config, f.port)
		if err != nil {
			return err
		}
		said(ready{Addr: s.Addr})
		select {
		case <-ctx.Done():
			s.Stop()
			return nil
		case <-s.Done():
			return errors.New("the clickhouse server ended by itself; see its server.log")
		}
	}
	if !f.sandboxed {
		err := f.enterSandbox(logins)
		if !errors.Is(err, sandbox.ErrUnavailable) {
			return err
		}
		log.Warn("SQL functions that reach files are refused by their names only", "reason", err)
	}
	// The port first: another process on it must not cost the engine's start.
	listener, err := listen(ctx, f.port)
	if err != nil {
		return err
	}
	e, err := engine.Open(f.library, config)
	if err != nil {
		return err
	}
	defer e.Close()
	server := chfront.New(e, chfront.Config{Log: log, Logins: logins}).Server()
	return serve(ctx, server, listener, func() { said(ready{Addr: listener.Addr().String(), Version: e.Version()}) })
}

// readLogins reads the users from the data directory, or, inside the sandbox,
// which does not reach that far, from a pipe.
func (f childFlags) readLogins() ([]engine.Login, error) {
	if !f.sandboxed {
		c, err := ReadCredentials(f.credentials)
		return c.logins(), err
	}
	pipe := os.NewFile(uintptr(f.logins), "logins") //nolint:gosec // a descriptor of ours
	defer pipe.Close()
	var logins []engine.Login
	if err := json.NewDecoder(io.LimitReader(pipe, 4<<10)).Decode(&logins); err != nil {
		return nil, fmt.Errorf("reading the users of ClickHouse: %w", err)
	}
	return logins, nil
}

// enterSandbox starts this process anew with the engine's folder and little else
// in reach. It returns only on an error.
func (f childFlags) enterSandbox(logins []engine.Login) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	raw, err := json.Marshal(logins)
	if err != nil {
		return err
	}
	if _, err := w.Write(raw); err != nil { // a pipe takes as much without a reader
		return err
	}
	if err := errors.Join(w.Close(), os.MkdirAll(f.dir, 0o700)); err != nil {
		return err
	}
	return sandbox.Exec(sandbox.Reach{
		Write: []string{f.dir}, Keep: r,
		Read: []string{
			f.library, "/usr/share/zoneinfo", "/etc/localtime",
			// The C library looks up the first thread's stack in the maps, at any time.
			"/proc/self/maps", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/sys/devices/system/cpu", "/sys/fs/cgroup",
		},
		Environment: slices.DeleteFunc(os.Environ(), func(v string) bool {
			name, _, _ := strings.Cut(v, "=")
			return !slices.Contains([]string{"TZ", "LANG", "LC_ALL", "GOTRACEBACK", "GODEBUG", "GOMAXPROCS"}, name)
		}),
	}, []string{
		"internal", EngineName, "--dir", f.dir, "--port", strconv.Itoa(f.port), "--memory", strconv.FormatInt(f.memory, 10),
		"--library", f.library, "--sandboxed", "--logins", strconv.Itoa(int(r.Fd())), //nolint:gosec // a descriptor
	})
}

func runRegistry(ctx context.Context, f childFlags, log *slog.Logger, said func(ready)) error {
	listener, err := listen(ctx, f.port)
	if err != nil {
		return err
	}
	opening, cancel := context.WithTimeout(ctx, startTimeout/2)
	defer cancel()
	schemas, err := schemalog.Open(opening, schemalog.Config{
		Seeds: []string{f.brokers}, Logger: log, Options: []kgo.Opt{kgo.ClientID("syncline-registry")},
	})
	if err != nil {
		return err
	}
	defer schemas.Close()
	handler, err := registry.NewServer(opening, registry.Config{Log: schemas, Logger: log})
	if err != nil {
		return err
	}
	server := &http.Server{Handler: loopback.Guard(handler), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 5 * time.Minute}
	return serve(ctx, server, listener, func() { said(ready{Addr: listener.Addr().String()}) })
}

func listen(ctx context.Context, port int) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listening on 127.0.0.1:%d (taken? choose another port): %w", port, err)
	}
	return l, nil
}

// serve serves until ctx ends, then lets running requests finish for a while.
func serve(ctx context.Context, server *http.Server, listener net.Listener, started func()) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	started()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace/3)
	defer cancel()
	if err := server.Shutdown(ending); err != nil {
		_ = server.Close()
	}
	return nil
}
