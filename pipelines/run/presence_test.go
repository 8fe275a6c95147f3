package run

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"
)

func (w *world) claim(slot int, parts ...string) (*Presence, error) {
	w.t.Helper()
	cfg := Config{Brokers: w.brokers, Prefix: w.name, Slot: slot, SessionTimeout: 3 * time.Second}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	return Claim(ctx, cfg, w.topic("processes"), "test", parts)
}

// hold claims a slot and beats until the returned call.
func (w *world) hold(slot int, parts ...string) (p *Presence, still func()) {
	w.t.Helper()
	p, err := w.claim(slot, parts...)
	if err != nil {
		w.t.Fatal(err)
	}
	return p, w.beat(p)
}

func (w *world) beat(p *Presence) (still func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Beat(ctx, func() Report { return Report{Troubles: []Trouble{{Part: "intake", State: "stopped"}}} })
	}()
	still = func() { cancel(); <-done }
	w.t.Cleanup(still)
	return still
}

func TestATakenSlotEndsTheNewcomer(t *testing.T) {
	w := newWorld(t)
	holder, still := w.hold(1, "hops", "sink")
	begun := time.Now()
	_, err := w.claim(1, "sink")
	taken, ok := errors.AsType[*Taken](err)
	host, _ := os.Hostname()
	if !ok || taken.Holder.PID != os.Getpid() || taken.Holder.Host != host {
		t.Fatalf("got %v", err)
	}
	if took := time.Since(begun); took < 3*time.Second {
		t.Errorf("gave up after %s: the holder has the session time-out to end", took)
	}
	other, stillOther := w.hold(2, "hops", "sink")
	deadline := time.Now().Add(20 * time.Second)
	for len(holder.Others()) != 1 || len(holder.Others()[0].Report.Troubles) == 0 {
		if time.Now().After(deadline) {
			t.Fatalf("the other process is not heard of: %+v", holder.Others())
		}
		pause(t.Context(), 50*time.Millisecond)
	}
	stillOther()
	other.End()

	// A slot that was given back is free at once, and to a waiting newcomer too.
	got := make(chan error, 1)
	go func() {
		p, err := w.claim(1, "hops")
		if err == nil {
			p.End()
		}
		got <- err
	}()
	pause(t.Context(), time.Second)
	still()
	holder.End()
	if err := <-got; err != nil {
		t.Errorf("after the holder has ended: %v", err)
	}
	begun = time.Now()
	p, still := w.hold(1, "hops")
	if took := time.Since(begun); took > 2500*time.Millisecond {
		t.Errorf("a free slot took %s", took)
	}
	// Parts of their own do not meet.
	q, err := w.claim(1, "sink")
	if err != nil {
		t.Errorf("the sink beside the hops: %v", err)
	} else {
		q.End()
	}
	still()
	p.End()
	all, err := Processes(t.Context(), Config{Brokers: w.brokers, Prefix: w.name}, w.topic("processes"))
	if err != nil || len(all) != 0 {
		t.Errorf("all have ended: %v, %v", all, err)
	}
}

func TestASlotWhoseHolderDied(t *testing.T) {
	w := newWorld(t)
	// Without a word, elsewhere: not heard of for the session time-out.
	p, err := w.claim(0, "hops")
	if err != nil {
		t.Fatal(err)
	}
	p.close()
	begun := time.Now()
	p, err = w.claim(0, "hops")
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 3*time.Second {
		t.Errorf("took the slot after %s, without waiting for the holder to be heard", took)
	}
	// Killed on this machine: at once.
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.self.PID, p.self.Ticks = cmd.Process.Pid, processTicks(cmd.Process.Pid)
	p.mu.Unlock()
	if p.self.Ticks == "" {
		t.Skip("this system does not tell when a process began")
	}
	if _, err := p.tell(t.Context(), nil, false); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	begun = time.Now()
	q, err := w.claim(0, "hops")
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 2500*time.Millisecond {
		t.Errorf("the slot of a killed process took %s", took)
	}
	p.close()
	q.End()
}

func TestOfNewcomersAtOnceOneWins(t *testing.T) {
	w := newWorld(t)
	const n = 4
	results := make(chan error, n)
	for range n {
		go func() {
			p, err := w.claim(7, "hops")
			if err == nil {
				w.beat(p)
			}
			results <- err
		}()
	}
	won := 0
	for range n {
		err := <-results
		if _, ok := errors.AsType[*Taken](err); err != nil && !ok {
			t.Error(err)
		}
		if err == nil {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d of %d newcomers have the slot", won, n)
	}
}

func TestElsewhere(t *testing.T) {
	var early, late Report
	early.at("intake", "a", 1, 7)
	early.at("intake", "a", 3, 8)
	late.at("intake", "a", 3, 5)
	now := time.Now()
	others := []Process{{Report: late, Heard: now}, {Report: early, Heard: now.Add(-time.Second)}}
	for partition, want := range map[int32]int64{0: -1, 1: 7, 2: -1, 3: 5, 9: -1} {
		next, ok := elsewhere(others, "intake", "a", partition)
		if ok != (want >= 0) || ok && next != want {
			t.Errorf("partition %d: %d, %t; want %d", partition, next, ok, want)
		}
	}
	if _, ok := elsewhere(others, "document", "a", 1); ok {
		t.Error("another part's position counts")
	}
}
