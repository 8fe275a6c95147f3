package endtoend

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"syncline/pipelines/cli"
)

// door is an address that is closed until it is opened onto a server.
type door struct {
	t       *testing.T
	address string
}

func newDoor(t *testing.T) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return &door{t, l.Addr().String()}
}

func (d *door) open(to string) {
	d.t.Helper()
	l, err := net.Listen("tcp", d.address)
	if err != nil {
		d.t.Fatal(err)
	}
	var open sync.WaitGroup
	d.t.Cleanup(func() { _ = l.Close(); open.Wait() })
	open.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	})
}

func (p *pipelines) says(what string, timeout time.Duration) {
	p.w.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); ; {
		p.mu.Lock()
		said := p.errs.String()
		p.mu.Unlock()
		if strings.Contains(said, what) {
			return
		}
		select {
		case <-tick.C:
		case <-p.done:
			p.w.t.Fatalf("it has ended without saying %q: %v\n%s", what, p.err, said)
		}
		if time.Since(begun) > timeout {
			p.w.t.Fatalf("it has not said %q in %s:\n%s", what, timeout, said)
		}
	}
}

// TestStartWithEverythingDown: the pipelines say for whom they wait, and go on by
// themselves.
func TestStartWithEverythingDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "tryton")
	broker, registry, clickhouse := newDoor(t), newDoor(t), newDoor(t)
	p := w.start("--brokers", broker.address, "--registry-url", "http://"+registry.address, "--clickhouse", clickhouse.address)
	p.says("waiting for Kafka at "+broker.address, time.Minute)
	broker.open(w.p.Brokers()[0])
	p.says("waiting for the schema registry at http://"+registry.address, time.Minute)
	registry.open(strings.TrimPrefix(w.p.RegistryURL(), "http://"))
	p.says("waiting for ClickHouse at "+clickhouse.address, time.Minute)
	clickhouse.open(w.p.ClickHouseAddr())
	w.load("debezium-tryton", 0)
	p.settle()
	w.check(w.expectRecorded("debezium-tryton"))
	p.term()
}

// TestStartAtTheWrongAddress: what no waiting cures ends the start at once, with
// part, rule and fix.
func TestStartAtTheWrongAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "tryton")
	broker, registry, clickhouse := w.p.Brokers()[0], strings.TrimPrefix(w.p.RegistryURL(), "http://"), w.p.ClickHouseAddr()
	for _, c := range []struct{ args, code, part string }{
		{"--brokers " + registry, "kafka.unfit", "Kafka at " + registry},
		{"--brokers " + clickhouse, "kafka.unfit", "Kafka at " + clickhouse},
		{"--registry-url http://" + clickhouse, "registry.denied", "the schema registry at http://" + clickhouse},
		{"--registry-url http://" + broker, "registry.protocol", "the schema registry at http://" + broker},
		{"--registry-url https://" + registry, "registry.tls", "the schema registry at https://" + registry},
		{"--clickhouse " + registry, "clickhouse.refused", "ClickHouse at " + registry},
		{"--clickhouse " + broker, "clickhouse.protocol", "ClickHouse at " + broker},
	} {
		begun := time.Now()
		out, errs, exit := w.command(append([]string{"run", "-o", "json"}, strings.Fields(c.args)...)...)
		var e cli.Envelope
		if err := json.Unmarshal([]byte(out), &e); err != nil || exit != 3 || e.Error == nil {
			t.Errorf("%s: exit %d, %v\n%s%s", c.args, exit, err, out, errs)
			continue
		}
		if e.Error.Code != c.code || e.Error.Fix == "" || !strings.Contains(e.Error.Message, c.part) || !strings.Contains(e.Error.Message, "must") && !strings.Contains(e.Error.Message, "speaks") {
			t.Errorf("%s: %+v", c.args, *e.Error)
		}
		if took := time.Since(begun); took > 45*time.Second {
			t.Errorf("%s: ended after %s", c.args, took)
		}
	}
}

// TestTakenSlot: the newcomer ends, and names the holder; the holder goes on.
// What a kill leaves behind is free at once.
func TestTakenSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "tryton")
	first := w.start("--slot", "3")
	first.wait("the first report", time.Minute, func(cli.Progress) bool { return true })
	out, errs, exit := w.command("run", "--slot", "3", "-o", "json")
	if exit != 3 || !strings.Contains(out, "slot.taken") || !strings.Contains(out, strconv.Itoa(first.cmd.Process.Pid)) {
		t.Errorf("exit %d\n%s%s", exit, out, errs)
	}
	w.load("debezium-tryton", 0)
	first.settle()
	first.kill()
	begun := time.Now()
	second := w.start("--slot", "3")
	second.wait("the first report", time.Minute, func(cli.Progress) bool { return true })
	if took := time.Since(begun); took > 7*time.Second {
		t.Errorf("the slot of a killed process was free after %s", took)
	}
	second.settle()
	second.term()
	third := w.start("--slot", "3")
	third.settle()
	w.check(w.expectRecorded("debezium-tryton"))
	third.term()
}

// TestManyProcessesReachRest: each of several processes tells the lag of all, and
// it reaches 0.
func TestManyProcessesReachRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "tryton")
	var all []*pipelines
	for slot := range 3 {
		all = append(all, w.start("--slot", fmt.Sprint(slot)))
	}
	w.load("debezium-tryton", 0)
	for _, p := range all {
		p.settle()
	}
	w.check(w.expectRecorded("debezium-tryton"))
	for _, p := range all {
		p.term()
	}
}
