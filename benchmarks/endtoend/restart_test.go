package endtoend

import (
	"context"
	"os"
	"testing"
	"time"

	"syncline/benchmarks/oracle"
	"syncline/benchmarks/workload/company"
	"syncline/deploy/local/kafkatest"
	"syncline/pipelines/cli"
)

func TestRecordedFeeds(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"debezium-tryton", "debezium-tryton-2"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "tryton")
			w.load(name, 0)
			p := w.start()
			p.settle()
			expected := w.expectRecorded(name)
			w.check(expected)
			before := w.canonicalRecords()
			// The whole feed once more: nothing new comes of it.
			w.load(name, 0)
			p.settle()
			if after := w.canonicalRecords(); after != before {
				t.Errorf("%d canonical records after the second load, %d before", after, before)
			}
			if out, errs, exit := w.command("verify", "--recording", name); exit != 0 {
				t.Errorf("verify after the second load: exit %d\n%s%s", exit, out, errs)
			}
			p.term()
		})
	}
}

// often is a number of repetitions: few of them, or many with SYNCLINE_LONG=1.
func often(few, many int) int {
	if os.Getenv("SYNCLINE_LONG") != "" {
		return many
	}
	return few
}

// TestRestarts stops the pipelines again and again in the middle of a feed, in
// order and by kill -9, at random moments.
func TestRestarts(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*pipelines){"SIGTERM": (*pipelines).term, "kill -9": (*pipelines).kill} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "company")
			// The feed goes on until the last restart, so that all are in its middle.
			until, enough := context.WithCancel(t.Context())
			defer enough()
			truth := make(chan oracle.Expected, 1)
			seed := w.random.Uint64()
			go func() {
				defer close(truth)
				truth <- w.play(company.Config{Seed: seed, Accounts: 20_000, History: -1}, 200, until)
			}()
			var slowest time.Duration
			restarts := often(6, 20)
			for range restarts {
				p := w.start()
				begun := time.Now()
				p.wait("progress after a restart", 2*time.Minute, func(now cli.Progress) bool { return now.Records > 0 })
				slowest = max(slowest, time.Since(begun))
				pause := time.NewTimer(time.Duration(w.random.IntN(900)) * time.Millisecond)
				<-pause.C
				end(p)
			}
			enough()
			expected, ok := <-truth
			if !ok {
				t.Fatal("the company was not written")
			}
			p := w.start()
			p.settle()
			w.check(expected)
			p.term()
			t.Logf("%d restarts; the slowest took %s from start to progress", restarts, slowest)
		})
	}
}

// TestBrokerKills kills the broker in the middle of a feed, again and again,
// while the pipelines and the source's producer run on. The embedded broker
// does not claim to bear this; real Kafka does.
func TestBrokerKills(t *testing.T) {
	if !kafkatest.Real(t) {
		t.Skip("a broker that is killed: on real Kafka only, see make test-kafka")
	}
	t.Parallel()
	w := newWorld(t, "company")
	until, enough := context.WithCancel(t.Context())
	defer enough()
	truth := make(chan oracle.Expected, 1)
	go func() {
		defer close(truth)
		truth <- w.play(company.Config{Seed: w.random.Uint64(), Accounts: 20_000, History: -1}, 200, until)
	}()
	p := w.start()
	for range often(1, 5) {
		last, _ := p.report()
		before := last.Records
		p.wait("work between kills", 2*time.Minute, func(now cli.Progress) bool { return now.Records > before+100 })
		pause := time.NewTimer(time.Duration(w.random.IntN(2000)) * time.Millisecond)
		<-pause.C
		w.kafka.Kill(t)
		down := time.Now()
		w.kafka.Restart(t)
		up := time.Since(down)
		last, _ = p.report()
		before = last.Records
		p.wait("progress after the broker's return", 2*time.Minute, func(now cli.Progress) bool { return now.Records > before })
		t.Logf("the broker was back after %s, progress came after %s", up, time.Since(down))
	}
	enough()
	expected, ok := <-truth
	if !ok {
		t.Fatal("the company was not written")
	}
	p.settle()
	w.check(expected, "feed_health") // see TestOutages
	p.term()
}
