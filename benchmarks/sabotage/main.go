// Command sabotage shows that the proof can fail: it breaks the code in one
// place, as the table says, and runs the one test that must notice. A test that
// stays green over broken code proves nothing. The checkout is not touched: what
// is changed lies in an overlay of the build.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// redWithin is how long a test may take to find its sabotage: one that has to
	// be waited for by the clock of a whole run is not run.
	redWithin   = time.Minute
	buildWithin = 10 * time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the command: 0 if every sabotage that was chosen was found.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("sabotage", flag.ContinueOnError)
	flags.SetOutput(errs)
	most := flags.Int("most", 0, "run so many only: those whose files -since has changed, then others, turn by turn with the commit; their tests are taken to be green")
	since := flags.String("since", "HEAD~1", "the commit from which on a file counts as changed")
	list := flags.Bool("list", false, "list the sabotages")
	flags.Usage = func() {
		fmt.Fprintln(errs, "usage: sabotage [flags] [NAME...]\n\nBreaks the code of this checkout, one place at a time, and tells whether the named test notices.")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	chosen, err := choose(ctx, flags.Args(), *most, *since)
	if err != nil {
		fmt.Fprintln(errs, "sabotage:", err)
		return 2
	}
	if *list {
		for _, s := range chosen {
			fmt.Fprintf(out, "%-32s %s\n%32s %s %s\n", s.name, s.what, "", s.pkg, s.test)
		}
		return 0
	}
	failed := 0
	for _, s := range chosen {
		if ctx.Err() != nil {
			fmt.Fprintln(errs, "sabotage: stopped")
			return 1
		}
		begun := time.Now()
		err := s.try(ctx, *most == 0)
		took := time.Since(begun).Round(time.Second)
		if err != nil {
			failed++
			fmt.Fprintf(out, "not ok %s (%s)\n    %s\n    %v\n", s.name, took, s.what, err)
			continue
		}
		fmt.Fprintf(out, "ok %s: %s is red (%s)\n", s.name, s.test, took)
	}
	fmt.Fprintf(out, "%d found, %d not\n", len(chosen)-failed, failed)
	if failed > 0 {
		return 1
	}
	return 0
}

// choose picks by name, or some of all.
func choose(ctx context.Context, names []string, most int, since string) ([]sabotage, error) {
	all := table()
	if len(names) > 0 {
		var chosen []sabotage
		for _, name := range names {
			i := slices.IndexFunc(all, func(s sabotage) bool { return s.name == name })
			if i < 0 {
				return nil, fmt.Errorf("no sabotage %q; -list lists them", name)
			}
			chosen = append(chosen, all[i])
		}
		return chosen, nil
	}
	if most <= 0 || most >= len(all) {
		return all, nil
	}
	commit := git(ctx, "rev-parse", "HEAD")
	changed := strings.Split(git(ctx, "diff", "--name-only", since), "\n")
	return pick(all, most, commit, changed), nil
}

// pick takes those first whose files have changed, and both kinds in an order
// that turns with the commit, so that in time all have their turn.
func pick(all []sabotage, most int, commit string, changed []string) []sabotage {
	h := fnv.New32a()
	_, _ = h.Write([]byte(commit))            // hashes do not fail
	turn := int(h.Sum32() % uint32(len(all))) //nolint:gosec // below the length
	turned := append(slices.Clone(all[turn:]), all[:turn]...)
	fresh := func(s sabotage) bool {
		return slices.ContainsFunc(s.edits, func(e edit) bool { return slices.Contains(changed, e.file) })
	}
	slices.SortStableFunc(turned, func(a, b sabotage) int {
		switch {
		case fresh(a) == fresh(b):
			return 0
		case fresh(a):
			return -1
		}
		return 1
	})
	return turned[:most]
}

// git gives the output of a command, or nothing where there is no repository.
func git(ctx context.Context, args ...string) string {
	out, err := exec.CommandContext(ctx, "git", args...).Output() //nolint:gosec // fixed words and a revision of the caller's
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

var (
	errGreen = errors.New("the test stays green: it does not hold what it is named for")
	errHangs = fmt.Errorf("the test only notices by hanging: it has to fail within %s", redWithin)
)
