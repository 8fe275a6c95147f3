// Package cli is the command `syncline`: what people and scripts call. Answers
// go to stdout, progress to stderr; -o json gives one envelope for every
// command; exit codes are 0 ok, 1 failed, 2 input or configuration, 3
// environment, 4 differences found.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"syncline/deploy/embedded"
	"syncline/pipelines"
)

// Version is the release of this build.
const Version = "0.1.0"

// app is what the commands of one call share.
type app struct {
	*printer

	in       io.Reader
	settings Settings
	given    map[string]bool // keys of the settings that are not defaults
	reader   *embedded.Login // of the embedded ClickHouse; nil with another
	names    pipelines.Names // under the settings' prefix
	config   string
	log      *slog.Logger
	partial  any // result to show beside a failure

	uncounted bool // feed_health is not compared: nobody knows what it must count
}

const rootHelp = `Syncline reads the change feeds of a CRM, a subscription system and an ERP from
Kafka, folds them exactly once into one canonical state per customer, and shows
in ClickHouse where every deal stands.

Begin with:
  syncline demo                 everything on this machine, checked to the cent
  syncline up                   the same platform, staying, for your own data
  syncline doctor               what is missing, and how to mend it

Every command takes -o json. Exit codes: 0 ok, 1 failed, 2 input or
configuration, 3 environment, 4 differences found.`

// Run executes one command line and returns its exit code.
func Run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	a := &app{printer: newPrinter(out, errs), in: in}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	f := classify(err)
	if wantsJSON(args) {
		a.format = "json" // also where the command line could not be parsed
	}
	if isUsage(err) {
		f = input("usage", "see `"+cmd.CommandPath()+" --help`", "%w", err)
	}
	a.fail(strings.TrimPrefix(cmd.CommandPath(), "syncline "), f, a.partial)
	return f.Exit
}

// wantsJSON looks for -o json in arguments that need not make sense.
func wantsJSON(args []string) bool {
	for i, arg := range args {
		switch arg {
		case "-o", "--output":
			if i+1 < len(args) && args[i+1] == "json" {
				return true
			}
		case "-ojson", "-o=json", "--output=json":
			return true
		}
	}
	return false
}

// isUsage tells cobra's complaints about flags and arguments from our errors.
func isUsage(err error) bool {
	if _, ok := errors.AsType[*Failure](err); ok {
		return false
	}
	for _, p := range []string{"unknown command", "unknown flag", "unknown shorthand", "accepts ", "requires ", "invalid argument", "flag needs an argument"} {
		if strings.HasPrefix(err.Error(), p) {
			return true
		}
	}
	return false
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "syncline", Short: "One story about every order, across CRM, subscriptions and ERP", Long: rootHelp,
		SilenceUsage: true, SilenceErrors: true, Version: Version,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) },
	}
	root.AddGroup(
		&cobra.Group{ID: "start", Title: "Start:"},
		&cobra.Group{ID: "understand", Title: "Understand:"},
		&cobra.Group{ID: "trust", Title: "Trust:"},
		&cobra.Group{ID: "operate", Title: "Operate and change:"},
	)
	p := root.PersistentFlags()
	p.StringVar(&a.config, "config", "", "YAML file with settings")
	p.StringVarP(&a.format, "output", "o", "table", "table or json")
	p.BoolVarP(&a.quiet, "quiet", "q", false, "no progress on stderr")
	p.Bool("no-color", false, "plain text (nothing is coloured yet; NO_COLOR counts too)")
	addSettings(p)
	root.AddCommand(
		a.demoCommand(), a.upCommand(), a.runCommand(), a.doctorCommand(),
		a.queryCommand(),
		a.connectInfoCommand(),
		a.verifyCommand(), a.instructionsCommand(), a.lettersCommand(), a.replayCommand(),
		a.rebuildCommand(),
		a.loadCommand(), a.generateCommand(), a.catalogCommand(), a.registryCommand(), a.feedsCommand(),
	)
	hideSettings(root)
	return root
}

// hideSettings keeps the settings out of every command's help but run's, where
// they are explained once.
func hideSettings(root *cobra.Command) {
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "{{if .HasAvailableInheritedFlags}}", "{{if eq .Name \"run\"}}"))
}

func (a *app) prepare(cmd *cobra.Command) error {
	if a.format != "table" && a.format != "json" {
		return input("usage.output", "use -o table or -o json", "no output format %q", a.format)
	}
	var err error
	if a.settings, a.given, err = loadSettings(cmd.Flags(), a.config); err != nil {
		return err
	}
	a.hide(a.settings.RegistryPassword, a.settings.ClickHousePassword)
	if a.names, err = pipelines.NamesOf(a.settings.Prefix); err != nil {
		return input("config.invalid", "correct --prefix or SYNCLINE_PREFIX", "%w", err)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.settings.LogLevel)); err != nil {
		return input("config.invalid", "use debug, info, warn or error", "log_level: %w", err)
	}
	for name, meant := range strayVariables() {
		a.say("warning: %s is no setting and does nothing; %s", name, strayFix(meant))
	}
	a.log = slog.New(slog.NewTextHandler(logs{a.printer}, &slog.HandlerOptions{Level: level}))
	return nil
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
