// Command cases runs small stories against a syncline binary, told from outside:
// changes go into topics as a connector writes them, and the views, the letters
// or a command are asked what came of them. It uses nothing of the pipelines.
// README.md beside it says what may stand in a case.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the command: 0 if every case passed, 1 if one did not or there is none,
// 2 if it was called wrongly.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("cases", flag.ContinueOnError)
	flags.SetOutput(errs)
	binary := flags.String("binary", "bin/syncline", "the syncline binary")
	only := flags.String("only", "", "names of cases, separated by commas; default all")
	keep := flags.String("keep", "", "leave each platform's folder and log behind in this folder")
	parallel := flags.Int("parallel", 2, "how many cases run at a time")
	flags.Usage = func() {
		fmt.Fprintln(errs, "usage: cases [flags] FOLDER...\n\nRuns the cases (*.yaml) of the folders; README.md beside the source says what a case is.")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	paths, err := find(flags.Args(), *only)
	if err != nil {
		fmt.Fprintln(errs, "cases:", err)
		return 1
	}
	program, err := filepath.Abs(*binary)
	if err == nil {
		_, err = os.Stat(program)
	}
	if err != nil {
		fmt.Fprintf(errs, "cases: no binary, make build makes it: %v\n", err)
		return 2
	}
	passed, failed := runAll(ctx, program, paths, *keep, max(*parallel, 1), out)
	if ctx.Err() != nil {
		fmt.Fprintln(errs, "cases: stopped before all cases were run")
		failed = max(failed, 1)
	}
	fmt.Fprintf(out, "%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		return 1
	}
	return 0
}

// find lists the cases of the folders, or the chosen ones among them. A run of
// none would pass whatever the product does, so that a folder without a case and
// a name that none has are errors.
func find(folders []string, only string) ([]string, error) {
	if len(folders) == 0 {
		return nil, errors.New("no case: name a folder")
	}
	var paths []string
	for _, folder := range folders {
		found, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("no case (*.yaml) in %s", folder)
		}
		slices.Sort(found)
		paths = append(paths, found...)
	}
	if only == "" {
		return paths, nil
	}
	var chosen []string
	for name := range strings.SplitSeq(only, ",") {
		before := len(chosen)
		for _, path := range paths {
			if caseName(path) == strings.TrimSpace(name) {
				chosen = append(chosen, path)
			}
		}
		if len(chosen) == before {
			return nil, fmt.Errorf("no case %q in %s", name, strings.Join(folders, ", "))
		}
	}
	return chosen, nil
}

// runAll runs the cases, parallel of them at a time, and says of each how it
// ended as soon as it has.
func runAll(ctx context.Context, binary string, paths []string, keep string, parallel int, out io.Writer) (passed, failed int) {
	queue := make(chan string)
	var workers sync.WaitGroup
	var mu sync.Mutex
	for range parallel {
		workers.Go(func() {
			for path := range queue {
				begun := time.Now()
				err := runOne(ctx, binary, path, keep)
				name, seconds := caseName(path), time.Since(begun).Round(time.Second)/time.Second
				mu.Lock()
				if err == nil {
					passed++
					fmt.Fprintf(out, "ok %s (%d s)\n", name, seconds)
				} else {
					failed++
					fmt.Fprintf(out, "not ok %s (%d s)\n    %s\n", name, seconds, strings.ReplaceAll(err.Error(), "\n", "\n    "))
				}
				mu.Unlock()
			}
		})
	}
	for _, path := range paths {
		if ctx.Err() != nil {
			break
		}
		queue <- path
	}
	close(queue)
	workers.Wait()
	return passed, failed
}

func caseName(path string) string { return strings.TrimSuffix(filepath.Base(path), ".yaml") }

// runOne runs a case over a new folder.
func runOne(ctx context.Context, binary, path, keep string) (err error) {
	c, err := loadCase(path)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp(keep, "case-"+c.name+"-")
	if err != nil {
		return err
	}
	if keep == "" {
		defer os.RemoveAll(folder)
	}
	p, err := newPlatform(binary, folder, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	return newTeller(c, p).tell(ctx)
}
