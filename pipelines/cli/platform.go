package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"syncline/deploy/embedded"
)

// The flags of the platform's ports.
const (
	kafkaPort      = "kafka-port"
	registryPort   = "registry-port"
	clickhousePort = "clickhouse-port"
)

// startPlatform starts broker, registry and ClickHouse engine over dir and
// points the settings at them.
func (a *app) startPlatform(ctx context.Context, options embedded.Options) (*embedded.Platform, error) {
	dir := options.Dir
	options.Log, options.Progress, options.ClickHouseAddr = a.log, a.printer, os.Getenv("CLICKHOUSE_ADDR")
	if a.given["clickhouse"] {
		options.ClickHouseAddr = a.settings.ClickHouse
	}
	p, err := embedded.Start(ctx, options)
	if taken, ok := errors.AsType[*embedded.PortTakenError](err); ok {
		flag := map[string]string{embedded.BrokerName: kafkaPort, embedded.RegistryName: registryPort, embedded.EngineName: clickhousePort}[taken.Child]
		return nil, environment("platform.port", "end that program, or give another --"+flag+"; 0 takes any free port", "%w", err)
	}
	if err != nil {
		return nil, environment("platform.start", "read the message; logs are in "+dir+"/logs", "starting the embedded platform: %w", err)
	}
	a.settings.Brokers, a.settings.RegistryURL, a.settings.ClickHouse = p.Brokers(), p.RegistryURL(), p.ClickHouseAddr()
	if c, own := p.Credentials(); own {
		a.useCredentials(c)
	}
	if !a.given["compression"] {
		a.settings.Compression = "none" // loopback: compressing costs more than it saves
	}
	return p, nil
}

// child is the pipelines' process: its own, so that a crash in native code takes
// nothing else along.
type child struct {
	cmd   *exec.Cmd
	begun chan struct{} // closed at the first report
	done  chan struct{}
	err   error

	mu   sync.Mutex
	last Progress
	seen int // reports
}

// startChild runs `syncline run --report` with the settings of this process.
func (a *app) startChild(ctx context.Context, show func(Progress)) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding the program itself: %w", err)
	}
	c := &child{ //nolint:gosec // our own binary
		cmd: exec.CommandContext(context.WithoutCancel(ctx), self, "run", "--report"), begun: make(chan struct{}), done: make(chan struct{}),
	}
	c.cmd.Env = append(os.Environ(), a.settings.environ()...)
	c.cmd.Stderr = a.err
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt reaches it through us, in order
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("connecting to the pipelines' process: %w", err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the pipelines' process: %w", err)
	}
	go c.follow(out, show)
	return c, nil
}

func (c *child) follow(out io.Reader, show func(Progress)) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var p Progress
		if json.Unmarshal(lines.Bytes(), &p) != nil {
			continue
		}
		c.mu.Lock()
		if c.last, c.seen = p, c.seen+1; c.seen == 1 {
			close(c.begun)
		}
		c.mu.Unlock()
		show(p)
	}
	c.err = c.cmd.Wait()
	close(c.done)
}

// settle waits until everything that was written before the call has gone
// through all hops into ClickHouse: twice in a row nothing lies behind, and
// nothing more has come.
func (c *child) settle(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c.mu.Lock()
	start := c.seen
	c.mu.Unlock()
	calm, before, last := 0, Progress{}, start
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the pipelines to come to rest: %w (%d behind)", ctx.Err(), before.Behind)
		case <-c.done:
			return fmt.Errorf("the pipelines' process has ended: %w", cmpErr(c.err))
		case <-tick.C:
		}
		c.mu.Lock()
		now, seen := c.last, c.seen
		c.mu.Unlock()
		if seen < start+2 || seen == last {
			continue // the first report may have been under way before the call
		}
		last = seen
		if len(now.Stopped) > 0 {
			return failure(ExitFailed, "pipelines.stopped", "read the reason; `syncline doctor` looks at the addresses", "%s", now.Stopped[0])
		}
		if now.Behind == 0 && now.Records == before.Records && now.Rows == before.Rows {
			if calm++; calm >= 2 {
				return nil
			}
		} else {
			calm = 0
		}
		before = now
	}
}

var errEnded = errors.New("it ended without an error")

func cmpErr(err error) error {
	if err == nil {
		return errEnded
	}
	return err
}

// stop drains the process; one that does not end in time is killed.
func (c *child) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping the pipelines' process: %w", err)
	}
	select {
	case <-c.done:
		select {
		case <-c.begun:
			return c.err
		default:
			return nil // the signal may have come before it could listen: there was nothing to drain
		}
	case <-time.After(15 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.done
		return errors.New("stopping the pipelines' process: it did not drain within 15 s and was killed")
	}
}

func (a *app) upCommand() *cobra.Command {
	var wipe, syncWrites bool
	var kafka, registry, house int
	c := &cobra.Command{
		Use: "up", GroupID: "start", Short: "Start the embedded platform and the pipelines, and stay",
		Long: `Starts a broker, a schema registry and a ClickHouse engine on 127.0.0.1 as child
processes, the pipelines beside them, prints the addresses, and stays until an
interrupt, a termination, or the end of its terminal. A restart keeps everything.
After a kill of the broker it keeps the source topics, schemas and instructions,
and makes anew what was derived from them, which it says. --wipe deletes all
embedded topics and tables, the sources' too, to be loaded again; to compute
everything anew from topics that are there, see ` + "`syncline rebuild all`" + `.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.refuseForUp(); err != nil {
				return err
			}
			if cmd.Flags().Changed(clickhousePort) && (a.given["clickhouse"] || os.Getenv("CLICKHOUSE_ADDR") != "") {
				return input("config.up", "leave one of the two out", "--%s is for the embedded ClickHouse, and another one is given (--clickhouse or CLICKHOUSE_ADDR)", clickhousePort)
			}
			for flag, number := range map[string]int{kafkaPort: kafka, registryPort: registry, clickhousePort: house} {
				if number < 0 || number > 65535 {
					return input("config.invalid", "correct --"+flag, "%s: must be 0 to 65535", flag)
				}
			}
			port := func(flag string, number int) embedded.Port {
				return embedded.Port{Number: number, OrNext: !cmd.Flags().Changed(flag)}
			}
			return a.up(cmd.Context(), embedded.Options{
				Dir: a.settings.DataDir, Sync: syncWrites, BrokerPort: port(kafkaPort, kafka), RegistryPort: port(registryPort, registry), ClickHousePort: port(clickhousePort, house),
			}, wipe)
		},
	}
	c.Flags().BoolVar(&wipe, "wipe", false, "delete all embedded topics, those of the sources too, and all tables first")
	c.Flags().BoolVar(&syncWrites, "sync", false, "write each Kafka batch through to disk: slower, but a power cut takes nothing that was acknowledged")
	c.Flags().IntVar(&kafka, kafkaPort, 9092, "port of Kafka; the next free one if it is taken and was not given, any with 0")
	c.Flags().IntVar(&registry, registryPort, 8081, "port of the schema registry, likewise")
	c.Flags().IntVar(&house, clickhousePort, 8123, "port of ClickHouse, likewise")
	return c
}

// refusedForUp lists the settings that up brings itself, with the reason.
var refusedForUp = map[string]string{ //nolint:gochecknoglobals // a table
	"brokers": "up starts a broker of its own", "registry_url": "up starts a registry of its own", "registry_user": "up's registry asks for no user",
	"registry_password": "up's registry asks for no password", "slot": "up runs one process with all of the work", "replication": "up runs a single broker",
}

// refuseForUp refuses settings that were given and would count for nothing.
func (a *app) refuseForUp() error {
	for key, reason := range refusedForUp {
		if a.given[key] {
			return input("config.up", "leave it out, or use `syncline run`, which takes it", "%s is given, but %s", key, reason)
		}
	}
	return nil
}

func (a *app) up(ctx context.Context, options embedded.Options, wipe bool) (err error) {
	dir := options.Dir
	if wipe {
		if err := embedded.Wipe(dir); err != nil {
			return environment("platform.wipe", "stop what runs over the directory", "%w", err)
		}
	}
	// A reader of our words that goes away is not the end.
	signal.Ignore(syscall.SIGPIPE)
	p, err := a.startPlatform(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop(context.WithoutCancel(ctx))) }()
	for again := true; again; {
		if !p.Unclean().IsZero() {
			if err := a.remake(ctx, p); err != nil {
				return err
			}
		}
		if again, err = a.stay(ctx, p, dir); err != nil {
			return err
		}
	}
	return nil
}

// stay runs the pipelines over a platform until ctx ends; again says that the broker
// has crashed in between, so that what they have derived must be made anew.
func (a *app) stay(ctx context.Context, p *embedded.Platform, dir string) (again bool, err error) {
	c, err := a.startChild(ctx, a.progressLine())
	if err != nil {
		return false, err
	}
	begun := c.begun
	for {
		select {
		case <-begun:
			a.sayUp(dir)
			begun = nil
		case <-ctx.Done():
			return false, c.stop()
		case <-p.Torn():
			if p.Unclean().IsZero() {
				continue // settled before it was told
			}
			// What it could not end in order is forgotten with the rest.
			if err := c.stop(); err != nil {
				a.log.Warn("stopping the pipelines after the broker's crash", "error", err)
			}
			return true, nil
		case <-c.done:
			if a.awaitBroker(ctx, p) {
				return true, nil
			}
			return false, environment("pipelines.ended", "read the messages above", "the pipelines' process has ended: %w", cmpErr(c.err))
		case err := <-p.Failed():
			return false, errors.Join(environment("platform.failed", "read the logs in "+dir+"/logs", "%w", err), c.stop())
		}
	}
}

// awaitBroker tells whether the broker's crash may have taken the pipelines along;
// then it waits until the broker is there again.
func (a *app) awaitBroker(ctx context.Context, p *embedded.Platform) bool {
	const noticed = 5 * time.Second // by then a crash is known
	patience := time.NewTimer(noticed)
	defer patience.Stop()
	for {
		if !p.Unclean().IsZero() {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-p.Torn():
		case <-patience.C:
			if _, up := p.Pids()[embedded.BrokerName]; up || ctx.Err() != nil {
				return false
			}
			patience.Reset(noticed)
		case err := <-p.Failed():
			a.say("%v", err)
			return false
		}
	}
}

func (a *app) sayUp(dir string) {
	s := &a.settings
	a.say(`Syncline is up, data in %s
  Kafka            %s
  schema registry  %s
  ClickHouse       http://%s (database %s)
In another terminal:
  syncline load debezium-tryton --data-dir %s
  syncline query "SELECT stage, count() FROM deals GROUP BY stage" --data-dir %s
Stop with Ctrl-C.`, dir, s.Brokers[0], s.RegistryURL, s.ClickHouse, s.Database, dir, dir)
}

// followPlatform points the settings at a platform that runs over the data directory, if
// one does and no address was given.
func (a *app) followPlatform() error {
	for _, key := range []string{"brokers", "registry_url", "clickhouse"} {
		if a.given[key] {
			return nil
		}
	}
	at, err := embedded.ReadAddresses(a.settings.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // none runs: the defaults stand
	}
	if err != nil {
		return environment("platform.addresses", "stop what runs over the directory and start it again", "%w", err)
	}
	a.settings.Brokers, a.settings.RegistryURL, a.settings.ClickHouse = at.Brokers, at.RegistryURL, at.ClickHouse
	if !at.OwnClickHouse {
		return nil
	}
	c, err := embedded.ReadCredentials(a.settings.DataDir)
	if err != nil {
		return environment("platform.credentials", "as the message says; only the user who started the platform can read them", "%w", err)
	}
	a.useCredentials(c)
	return nil
}

func (a *app) useCredentials(c embedded.Credentials) {
	a.hide(Secret(c.Writer.Password), Secret(c.Reader.Password))
	a.settings.ClickHouseUser, a.settings.ClickHousePassword = c.Writer.Name, Secret(c.Writer.Password)
	a.reader = &c.Reader
}
