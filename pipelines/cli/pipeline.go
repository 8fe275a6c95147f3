package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"syncline/pipelines"
	"syncline/pipelines/catalog"
	"syncline/pipelines/run"
	"syncline/processors/letters"
	"syncline/schemas/registry"
	"syncline/sinks/clickhouse"
)

// Progress is what the pipelines' process says of itself, once a second; `run
// --report` writes it to stdout, a JSON object a line.
type Progress struct {
	Records int64    `json:"records"` // source records taken since the start
	Rows    int64    `json:"rows"`    // rows written to ClickHouse since the start
	Behind  int64    `json:"behind"`  // records that lie unread before any hop or the sink; -1: not known yet
	Waiting []string `json:"waiting,omitempty"`
	Stopped []string `json:"stopped,omitempty"`
}

func (a *app) runCommand() *cobra.Command {
	var report bool
	var parts []string
	c := &cobra.Command{
		Use: "run", GroupID: "start", Short: "Run the pipelines against real addresses",
		Long: `Runs the four hops and the ClickHouse sink until SIGTERM, and drains in less
than ten seconds. Start more processes with --slot 1, 2, … to share the work.

Settings come from flags, from the environment (SYNCLINE_<NAME>) and from the
file of --config, in this order. Passwords: SYNCLINE_REGISTRY_PASSWORD and
SYNCLINE_CLICKHOUSE_PASSWORD.`,
		Example: "  syncline run --brokers kafka-1:9092 --registry-url http://registry:8081 --clickhouse ch:8123 --catalog company.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show := a.progressLine()
			if report {
				show = jsonLines(a.out)
			}
			for _, part := range parts {
				if part != partHops && part != partSink {
					return input("usage.parts", "use hops, sink or both", "there is no part %q", part)
				}
			}
			return a.pipelines(cmd.Context(), parts, show)
		},
	}
	c.Flags().StringSliceVar(&parts, "parts", []string{partHops, partSink}, "run only the hops or only the sink in this process")
	c.Flags().BoolVar(&report, "report", false, "write progress to stdout, a JSON object a line, once a second")
	return c
}

func jsonLines(w io.Writer) func(Progress) {
	enc := json.NewEncoder(w)
	return func(p Progress) { _ = enc.Encode(p) } // a reader that has gone away is told by the signal
}

// progressLine shows reports with rate and the time left, and says once what
// waits or has stopped.
type progressLine struct {
	app  *app
	last Progress
	at   time.Time
	said map[string]bool
}

func (a *app) progressLine() func(Progress) {
	l := &progressLine{app: a, said: map[string]bool{}}
	return l.show
}

func (l *progressLine) show(p Progress) {
	now := time.Now()
	for state, places := range map[string][]string{"stopped": p.Stopped, "waiting": p.Waiting} {
		for _, s := range places {
			if !l.said[s] {
				l.said[s] = true
				l.app.say("%s: %s", state, s)
			}
		}
	}
	if len(p.Stopped)+len(p.Waiting) == 0 {
		clear(l.said)
	}
	rate, left := 0.0, ""
	if took := now.Sub(l.at).Seconds(); !l.at.IsZero() && took > 0 {
		rate = float64(p.Records-l.last.Records) / took
		if gain := float64(l.last.Behind-p.Behind) / took; gain > 0 && p.Behind > 0 {
			left = fmt.Sprintf(", about %s left", (time.Duration(float64(p.Behind)/gain) * time.Second).Round(time.Second))
		}
	}
	l.last, l.at = p, now
	behind := "lag not known yet"
	if p.Behind >= 0 {
		behind = fmt.Sprintf("%d behind%s", p.Behind, left)
	}
	l.app.progress("%d source records, %.0f a second, %d rows in ClickHouse, %s", p.Records, rate, p.Rows, behind)
}

// engine is the engine's configuration from the settings.
func (a *app) engine() run.Config {
	s := &a.settings
	return run.Config{
		Brokers: s.Brokers, Prefix: s.Prefix, Slot: s.Slot, CommitCeiling: s.CommitCeiling, PurgeInterval: s.PurgeInterval, Compression: s.Compression,
		Replication: int16(s.Replication), Log: a.log, //nolint:gosec // a count of brokers
		Instructions: run.Topic{Name: a.names.Instructions, Partitions: 1, Cleanup: run.Compact}, InstructionCodec: pipelines.Instructions{},
	}
}

func (a *app) registryClient() (*registry.Remote, error) {
	s := &a.settings
	c, err := registry.NewClient(registry.ClientConfig{URL: s.RegistryURL, Username: s.RegistryUser, Password: string(s.RegistryPassword)})
	if err != nil {
		return nil, input("config.registry_url", "correct --registry-url", "%w", err)
	}
	return c, nil
}

// The parts of the pipelines that one process can run.
const (
	partHops = "hops"
	partSink = "sink"
)

// sinkName ends the name of the sink's group.
const sinkName = "clickhouse"

// pipelines runs hops and sink, or one of them, until ctx ends.
func (a *app) pipelines(ctx context.Context, parts []string, show func(Progress)) error {
	stopProfile, err := cpuProfile(os.Getenv("SYNCLINE_CPU_PROFILE"))
	if err != nil {
		return err
	}
	defer stopProfile()
	cat, err := loadCatalog(a.settings.Catalog)
	if err != nil {
		return err
	}
	schemas, err := a.registryClient()
	if err != nil {
		return err
	}
	defer schemas.Close()
	presence, err := a.claim(ctx, parts)
	if err != nil || presence == nil {
		return err
	}
	defer presence.End()
	writer, err := a.openSink(schemas)
	if err != nil {
		return err
	}
	defer writer.Close()
	var hops *hopRunner
	if slices.Contains(parts, partHops) {
		hops = &hopRunner{app: a, catalog: cat, schemas: schemas}
	}
	deliver, err := run.NewDeliver(run.DeliverConfig{Config: a.engine(), Sink: sinkName, Topics: a.names.Delivered(), FlushAfter: a.settings.FlushInterval}, writer)
	if err != nil {
		return input("config.sink", "correct the setting it names", "%w", err)
	}
	if !slices.Contains(parts, partSink) {
		deliver = nil
	}
	beating, hush := context.WithCancel(context.WithoutCancel(ctx))
	var side sync.WaitGroup
	side.Go(func() { presence.Beat(beating, func() run.Report { return run.ReportOf(hops.transform(), deliver) }) })
	defer func() { hush(); side.Wait() }()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if hops == nil {
			return nil
		}
		return hops.run(ctx)
	})
	group.Go(func() error {
		if deliver == nil {
			return nil
		}
		// Canonical state flows whether ClickHouse is there or not.
		if err := a.await(ctx, a.clickHouse(), writer.Migrate); err != nil || ctx.Err() != nil {
			return err
		}
		err := deliver.Run(ctx)
		if errors.Is(err, run.ErrFenced) {
			return lost(err)
		}
		return err
	})
	group.Go(func() error {
		if hops != nil {
			a.sweeps(hops).Run(ctx)
		}
		return nil
	})
	group.Go(func() error { reportProgress(ctx, hops, deliver, presence, show); return nil })
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("running the pipelines: %w", err)
	}
	return nil
}

// cpuProfile writes a profile of the process's CPU time to a file, for those who
// make it faster; "" for none.
func cpuProfile(name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	f, err := os.Create(name) //nolint:gosec // the developer's own file
	if err != nil {
		return nil, fmt.Errorf("opening the CPU profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the CPU profile: %w", err), f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // a profile cut short says so itself
	}, nil
}

// loadCatalog opens a catalog; what is wrong with it is the user's to mend.
func loadCatalog(name string) (*catalog.Catalog, error) {
	c, err := catalog.Load(name)
	var problems catalog.Problems
	if err != nil && !errors.As(err, &problems) {
		return nil, input("catalog.file", fmt.Sprintf("give a YAML file or one of %v", catalog.Builtin()), "%w", err)
	}
	return c, err
}

// buildSpine waits for a registry that cannot be reached; nil without an error
// means that ctx ended first.
func (a *app) buildSpine(ctx context.Context, cat *catalog.Catalog, schemas *registry.Remote, names pipelines.Names) (spine *pipelines.Spine, err error) {
	err = a.await(ctx, a.registry(), func(ctx context.Context) error {
		spine, err = pipelines.Build(ctx, pipelines.Config{
			Catalog: cat, Schemas: schemas, Names: names, Partitions: int32(a.settings.Partitions), //nolint:gosec // validated
			UnknownSchemaWait: a.settings.UnknownSchemaWait, MaxRecordBytes: a.settings.MaxRecordBytes, Log: a.log,
			LetterLimit: letters.Limit{Count: a.settings.LetterLimit, Percent: a.settings.LetterPercent},
		})
		if err != nil && !errors.Is(err, registry.ErrUnreachable) && !errors.Is(err, registry.ErrRejected) {
			return classify(err)
		}
		return err
	})
	return spine, err
}

func (a *app) openSink(schemas *registry.Remote) (*clickhouse.Writer, error) {
	s := &a.settings
	w, err := clickhouse.Open(clickhouse.Options{
		Topic: a.names.Record, Addresses: []string{s.ClickHouse}, Database: s.Database, User: s.ClickHouseUser, Password: string(s.ClickHousePassword), Logger: a.log,
	}, schemas)
	if err != nil {
		return nil, input("config.clickhouse", "correct --clickhouse or --database", "%w", err)
	}
	return w, nil
}

func reportProgress(ctx context.Context, h *hopRunner, d *run.Deliver, presence *run.Presence, show func(Progress)) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p := Progress{Behind: -1}
		t := h.transform()
		if t != nil {
			p.hops(t.Status())
		}
		if d != nil {
			p.sink(d.Status())
		}
		if h != nil && t == nil {
			if why := h.waiting(); why != "" {
				p.Waiting = append(p.Waiting, why)
			}
		} else if behind, err := lag(ctx, t, d, presence.Others()); err == nil {
			p.Behind = behind
		}
		show(p)
	}
}

// lag is what lies unread before any hop or the sink; a broker that does not
// answer soon must not hold up what else there is to say.
func lag(ctx context.Context, t *run.Transform, d *run.Deliver, others []run.Process) (sum int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if t != nil {
		if sum, err = t.Behind(ctx, others); err != nil {
			return 0, err
		}
	}
	if d != nil {
		rest, err := d.Behind(ctx, others)
		if err != nil {
			return 0, err
		}
		sum += rest
	}
	return sum, nil
}

func (p *Progress) hops(s run.Status) {
	for _, h := range s.Hops {
		for _, task := range h.Tasks {
			if h.Name == pipelines.Intake {
				p.Records += task.Records
			}
			place := fmt.Sprintf("%s %s/%d: %s: %s", h.Name, task.Topic, task.Partition, task.Reason, task.Message)
			switch task.State {
			case "stopped":
				p.Stopped = append(p.Stopped, place)
			case "waiting":
				p.Waiting = append(p.Waiting, place)
			}
		}
	}
}

func (p *Progress) sink(s run.DeliverStatus) {
	for _, l := range s.Lines {
		p.Rows += l.Rows
		if l.State == "stopped" || l.State == "failing" {
			p.Waiting = append(p.Waiting, fmt.Sprintf("clickhouse %s: %s", l.Topic, l.Message))
		}
	}
}
