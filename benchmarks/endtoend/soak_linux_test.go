package endtoend

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"syncline/benchmarks/workload"
	"syncline/benchmarks/workload/company"
	"syncline/deploy/embedded"
	"syncline/pipelines/cli"
)

// soakFor in the environment says how long TestSoak feeds the pipelines.
const soakFor = "SYNCLINE_SOAK"

// sample is what is in use at a moment. Sizes are in bytes.
type sample map[string]int64

// The measures of a sample, each with what it may rise by: a share of what it
// was, and a little of its own.
var soaked = []struct {
	name  string
	share float64
	more  int64
}{
	{"pipelines: heap", 0.10, 6 << 20},
	{"pipelines: goroutines", 0, 12},
	{"pipelines: handles", 0, 12},
	{"queues: records", 0.5, 2000},
	{"ClickHouse: memory", 0.25, 256 << 20},
	{"ClickHouse: handles", 0.25, 64},
	{"registry: memory", 0.25, 32 << 20},
	{"registry: handles", 0, 16},
	{"logs: disk", 0.10, 1 << 20},
}

// TestSoak feeds the same few rows again and again, changed each time, so that
// nothing has a reason to grow but the topics of the sources and what keeps
// their history. The pipelines are in this process, where goroutines and heap
// can be counted.
func TestSoak(t *testing.T) {
	duration, err := time.ParseDuration(cmp.Or(os.Getenv(soakFor), "12s"))
	if err != nil {
		t.Fatalf("%s: %v", soakFor, err)
	}
	w := newWorld(t, "company")
	g, err := company.New(company.Config{Seed: 3, Accounts: 500, NoTruth: true, Transport: &company.Transport{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Register(t.Context(), w.registry()); err != nil {
		t.Fatal(err)
	}
	to := w.producer(150)
	if err := to.CreateTopics(t.Context(), g.Topics(), workload.Partitions); err != nil {
		t.Fatal(err)
	}
	load := w.producer(0)
	for range 3000 {
		r, ok := g.Next()
		if !ok {
			t.Fatal("the company is too small")
		}
		if err := load.Produce(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := load.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := w.startHere()
	p.settle()

	m := newMarker(w)
	var samples []sample
	begun := time.Now()
	for each, next := duration/24, duration/24; time.Since(begun) < duration; {
		if err := to.Produce(t.Context(), m.next()); err != nil {
			t.Fatal(err)
		}
		m.sent = m.sent[:0]
		if time.Since(begun) > next {
			next += each
			samples = append(samples, w.sample())
		}
	}
	p.settle()
	if last, _ := p.report(); len(last.Stopped)+len(last.Waiting) > 0 {
		t.Errorf("at the end: %+v", last)
	}
	n := len(samples)
	for _, s := range soaked {
		of := func(part []sample) int64 {
			var values []int64
			for _, x := range part {
				values = append(values, x[s.name])
			}
			slices.Sort(values)
			return values[len(values)/2]
		}
		// The first third is for getting warm.
		before, after := of(samples[n/3:n/2]), of(samples[n*5/6:])
		t.Logf("%-24s %12d → %12d", s.name, before, after)
		if after > before+int64(s.share*float64(before))+s.more {
			t.Errorf("%s rose from %d to %d within %s", s.name, before, after, duration)
		}
	}
	p.stop()
}

// here is a set of pipelines in this process.
type here struct {
	*pipelines
	cancel context.CancelFunc
}

func (h here) stop() {
	h.w.t.Helper()
	h.cancel()
	<-h.done
	if h.err != nil {
		h.w.t.Error(h.err)
	}
}

func (w *world) startHere() here {
	w.t.Helper()
	for _, v := range w.environ() {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "SYNCLINE_") {
			w.t.(*testing.T).Setenv(name, value) //nolint:forcetypeassert // a test's world
		}
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	h := here{&pipelines{w: w, done: make(chan struct{})}, cancel}
	out, in := io.Pipe()
	go h.reportsFrom(out)
	errs, inErrs := io.Pipe()
	go h.keep(errs)
	go func() {
		defer close(h.done)
		if code := cli.Run(ctx, []string{"run", "--report"}, strings.NewReader(""), in, inErrs); code != 0 {
			h.err = fmt.Errorf("the pipelines ended with exit code %d", code)
		}
		_ = in.Close()
		_ = inErrs.Close()
	}()
	w.t.Cleanup(func() {
		cancel()
		<-h.done
		if w.t.Failed() {
			h.mu.Lock()
			w.t.Logf("pipelines said:\n%s", tail(h.errs.String(), 6000))
			h.mu.Unlock()
		}
	})
	return h
}

// sample measures what is in use now.
func (w *world) sample() sample {
	w.t.Helper()
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	pids := w.p.Pids()
	s := sample{
		"pipelines: heap":       int64(mem.HeapAlloc), //nolint:gosec // a size
		"pipelines: goroutines": int64(runtime.NumGoroutine()),
		"pipelines: handles":    w.handles(os.Getpid()),
		"queues: records":       w.queued(),
		"ClickHouse: memory":    residentBytes(w.t, pids[embedded.EngineName]),
		"ClickHouse: handles":   w.handles(pids[embedded.EngineName]),
		"registry: memory":      residentBytes(w.t, pids[embedded.RegistryName]),
		"registry: handles":     w.handles(pids[embedded.RegistryName]),
	}
	err := filepath.Walk(filepath.Join(w.dir, "logs"), func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			s["logs: disk"] += info.Size()
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) handles(pid int) int64 {
	w.t.Helper()
	list, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		w.t.Fatal(err)
	}
	return int64(len(list))
}
