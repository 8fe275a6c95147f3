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
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"syncline/deploy/embedded"
)

// startPlatform starts broker, registry and ClickHouse engine over dir and
// points the settings at them.
func (a *app) startPlatform(ctx context.Context, dir string) (*embedded.Platform, error) {
	options := embedded.Options{Dir: dir, Log: a.log, Progress: a.printer, ClickHouseAddr: os.Getenv("CLICKHOUSE_ADDR")}
	if a.given["clickhouse"] {
		options.ClickHouseAddr = a.settings.ClickHouse
	}
	p, err := embedded.Start(ctx, options)
	if err != nil {
		return nil, environment("platform.start", "read the message; logs are in "+dir+"/logs", "starting the embedded platform: %w", err)
	}
	a.settings.Brokers, a.settings.RegistryURL, a.settings.ClickHouse = p.Brokers(), p.RegistryURL(), p.ClickHouseAddr()
	if c, own := p.Credentials(); own {
		a.useCredentials(c)
	}
	a.settings.Compression = "none" // loopback: compressing costs more than it saves
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
	var rebuild bool
	c := &cobra.Command{
		Use: "up", GroupID: "start", Short: "Start the embedded platform and the pipelines, and stay",
		Long: `Starts a broker, a schema registry and a ClickHouse engine on 127.0.0.1 as child
processes, the pipelines beside them, prints the addresses, and stays until an
interrupt. A clean restart keeps everything. After an unclean end of the broker
it says so: --rebuild forgets the embedded topics and tables, to be filled again
from the sources.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.up(cmd.Context(), rebuild) },
	}
	c.Flags().BoolVar(&rebuild, "rebuild", false, "forget all embedded topics and tables first")
	return c
}

func (a *app) up(ctx context.Context, rebuild bool) (err error) {
	dir := a.settings.DataDir
	if rebuild {
		if err := embedded.Wipe(dir); err != nil {
			return environment("platform.wipe", "stop what runs over the directory", "%w", err)
		}
	}
	p, err := a.startPlatform(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop(context.WithoutCancel(ctx))) }()
	if at := p.Unclean(); !at.IsZero() && !rebuild {
		return environment("platform.unclean", "run `syncline up --rebuild` and load the sources again",
			"the embedded broker over %s was not stopped cleanly at %s: what it holds may be torn", dir, at.Format(time.DateTime))
	}
	c, err := a.startChild(ctx, a.progressLine())
	if err != nil {
		return err
	}
	begun := c.begun
	for {
		select {
		case <-begun:
			a.sayUp(dir)
			begun = nil
		case <-ctx.Done():
			return c.stop()
		case <-c.done:
			return environment("pipelines.ended", "read the messages above", "the pipelines' process has ended: %w", cmpErr(c.err))
		case err := <-p.Failed():
			return errors.Join(environment("platform.failed", "read the logs in "+dir+"/logs", "%w", err), c.stop())
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
	a.settings.ClickHouseUser, a.settings.ClickHousePassword = c.Writer.Name, Secret(c.Writer.Password)
	a.reader = &c.Reader
}
