package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"syncline/benchmarks/oracle"
	"syncline/benchmarks/workload"
	"syncline/benchmarks/workload/company"
	"syncline/benchmarks/workload/recorded"
)

// recording opens a recording by the name of a built-in one or as a folder; the
// folder is the caller's to remove where temporary is true.
func recording(name string) (dir string, remove func(), err error) {
	if slices.Contains(recorded.Names(), name) {
		temp, err := os.MkdirTemp("", "syncline-recording-")
		if err != nil {
			return "", nil, fmt.Errorf("making a folder for the recording: %w", err)
		}
		dir, err := recorded.Extract(name, temp)
		return dir, func() { os.RemoveAll(temp) }, err
	}
	if _, err := os.Stat(filepath.Join(name, "changes.jsonl.gz")); err != nil {
		return "", nil, input("input.recording", fmt.Sprintf("give a folder with changes.jsonl.gz and schemas.json.gz, or one of %v", recorded.Names()), "no recording at %s: %w", name, err)
	}
	return name, func() {}, nil
}

func (a *app) loadCommand() *cobra.Command {
	var rate float64
	c := &cobra.Command{
		Use: "load RECORDING", GroupID: "operate", Short: "Put a recorded feed into topics", Args: cobra.ExactArgs(1),
		Long: `Registers the recording's schemas, rewrites their ids in keys and values, and
produces every record to its own topic and partition, in order. RECORDING is a
folder, or the name of a built-in one: debezium-tryton, debezium-tryton-2.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.followPlatform(); err != nil {
				return err
			}
			n, err := a.load(cmd.Context(), args[0], rate)
			if err != nil {
				return err
			}
			return a.answer("load", fmt.Sprintf("%d records loaded", n), map[string]int{"records": n})
		},
	}
	c.Flags().Float64Var(&rate, "rate", 0, "most records a second, 0 for no limit")
	return c
}

func (a *app) load(ctx context.Context, name string, rate float64) (int, error) {
	dir, remove, err := recording(name)
	if err != nil {
		return 0, err
	}
	defer remove()
	rec, err := workload.Open(dir)
	if err != nil {
		return 0, input("input.recording", "see the README beside the recordings for the format", "%w", err)
	}
	reg, err := a.registryClient()
	if err != nil {
		return 0, err
	}
	defer reg.Close()
	to, err := workload.NewKafka(workload.KafkaOptions{Brokers: a.settings.Brokers})
	if err != nil {
		return 0, input("config.brokers", "correct --brokers", "%w", err)
	}
	defer to.Close()
	start := time.Now()
	n, err := rec.Load(ctx, reg, to, workload.LoadOptions{Rate: rate, Progress: func(n int) {
		a.progress("%d records loaded, %.0f a second", n, float64(n)/time.Since(start).Seconds())
	}})
	if err != nil {
		return n, environment("load.failed", "is the platform up? `syncline doctor` looks", "%w", err)
	}
	return n, nil
}

// companyFlags are the simulated company's parameters.
type companyFlags struct {
	seed     uint64
	accounts int
	deals    int
	rate     float64
	seconds  float64
}

func (f *companyFlags) add(c *cobra.Command) {
	c.Flags().Uint64Var(&f.seed, "seed", 1, "decides everything: same seed, same bytes")
	c.Flags().IntVar(&f.accounts, "accounts", 1000, "customers of the company")
	c.Flags().IntVar(&f.deals, "deals", 0, "opportunities; 0: one for each account")
	c.Flags().Float64Var(&f.rate, "rate", 0, "most records a second, 0 for no limit")
	c.Flags().Float64Var(&f.seconds, "seconds", 0, "end the business after so long; 0: play it to its end")
}

func (a *app) generateCommand() *cobra.Command {
	var f companyFlags
	var truth, out string
	c := &cobra.Command{
		Use: "generate", GroupID: "operate", Short: "Play the simulated company into topics", Args: cobra.NoArgs,
		Long: `Plays a company with a CRM, a subscription system and an ERP of its own into the
topics of the catalog "company": seeded, with everything that goes wrong in real
feeds. --truth writes what every view must show, for ` + "`syncline verify --truth`" + `.`,
		Example: "  syncline generate --seed 7 --accounts 5000 --truth truth.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out != "" {
				return a.generateFolder(cmd.Context(), f, out)
			}
			if err := a.followPlatform(); err != nil {
				return err
			}
			n, expected, err := a.generate(cmd.Context(), f)
			if err != nil {
				return err
			}
			if truth != "" {
				if err := writeTruth(truth, expected); err != nil {
					return input("input.truth", "give a file that can be written", "%w", err)
				}
			}
			return a.answer("generate", fmt.Sprintf("%d records written", n), map[string]int64{"records": n})
		},
	}
	f.add(c)
	c.Flags().StringVar(&truth, "truth", "", "write what every view must show to this file")
	c.Flags().StringVar(&out, "out", "", "write a recording with its truth to this folder instead of topics, for load and verify --recording")
	return c
}

func (a *app) generate(ctx context.Context, f companyFlags) (int64, oracle.Expected, error) {
	g, err := company.New(company.Config{Seed: f.seed, Accounts: f.accounts, Deals: f.deals})
	if err != nil {
		return 0, nil, input("input.company", "correct the flag it names", "%w", err)
	}
	reg, err := a.registryClient()
	if err != nil {
		return 0, nil, err
	}
	defer reg.Close()
	if err := g.Register(ctx, reg); err != nil {
		return 0, nil, environment("registry.register", "is the platform up? `syncline doctor` looks", "%w", err)
	}
	start := time.Now()
	to, err := workload.NewKafka(workload.KafkaOptions{Brokers: a.settings.Brokers, Rate: f.rate, Progress: func(n int64) {
		a.progress("%d records written, %.0f a second", n, float64(n)/time.Since(start).Seconds())
	}})
	if err != nil {
		return 0, nil, input("config.brokers", "correct --brokers", "%w", err)
	}
	defer to.Close()
	var until context.Context
	if f.seconds > 0 {
		var cancel context.CancelFunc
		until, cancel = context.WithTimeout(ctx, time.Duration(f.seconds*float64(time.Second)))
		defer cancel()
	}
	n, err := g.Write(ctx, until, to)
	if err != nil {
		return n, nil, environment("generate.failed", "is the platform up? `syncline doctor` looks", "%w", err)
	}
	truth, err := g.Truth()
	return n, truth, err
}

func writeTruth(file string, truth oracle.Expected) (err error) {
	f, err := os.Create(file) //nolint:gosec // the user's own path
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return company.WriteTruth(f, truth)
}

// generateFolder writes the company as a recording with its truth beside it.
func (a *app) generateFolder(ctx context.Context, f companyFlags, dir string) error {
	g, err := company.New(company.Config{Seed: f.seed, Accounts: f.accounts, Deals: f.deals})
	if err != nil {
		return input("input.company", "correct the flag it names", "%w", err)
	}
	start := time.Now()
	err = g.WriteFolder(ctx, dir, func(n int64) {
		a.progress("%d records written, %.0f a second", n, float64(n)/time.Since(start).Seconds())
	})
	if err != nil {
		return input("input.out", "give a folder that can be written", "%w", err)
	}
	return a.answer("generate", fmt.Sprintf("%d records written to %s", g.Records(), dir), map[string]any{"records": g.Records(), "folder": dir})
}
