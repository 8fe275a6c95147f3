package endtoend

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"syncline/benchmarks/chaos"
	"syncline/benchmarks/oracle"
	"syncline/benchmarks/workload"
	"syncline/benchmarks/workload/company"
	"syncline/deploy/embedded"
	"syncline/deploy/local/kafkatest"
	"syncline/pipelines/cli"
)

// What make chaos and make chaos-kafka say.
const (
	chaosSeed    = "SYNCLINE_CHAOS_SEED"    // a number; else a new one, which is told
	chaosRounds  = "SYNCLINE_CHAOS_ROUNDS"  // faults; default a few
	chaosFor     = "SYNCLINE_CHAOS_FOR"     // go on until so much time has gone
	chaosBrokers = "SYNCLINE_CHAOS_BROKERS" // 3: on three brokers of Apache Kafka
	chaosBinary  = "SYNCLINE_CHAOS_BINARY"  // another commit's, for upgrades and back
)

// slots is the greatest number of members.
const slots = 4

// turmoil is a run of faults over a world.
type turmoil struct {
	*world
	cluster          *chaos.Cluster // nil on one broker
	registry, engine *chaos.Proxy
	members          [slots]*pipelines // nil: down on purpose
	foreign          [slots]bool       // it is the other binary
	other            string
	source           *held
	kills            int
	notes            []string
}

// held is a source that can be made to wait.
type held struct {
	workload.Producer
	mu sync.RWMutex
}

func (h *held) Produce(ctx context.Context, r workload.Record) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.Producer.Produce(ctx, r)
}

// TestChaos does to the spine, as processes, what the seed decides, while a
// company goes on with its business; at the end every row of every view is held
// against the truth.
func TestChaos(t *testing.T) {
	if os.Getenv(chaosSeed) == "" {
		t.Parallel() // on its own it is alone
	}
	seed := number(t, chaosSeed, rand.Uint64())
	rounds := int(number(t, chaosRounds, 4)) //nolint:gosec // a count
	atLeast, err := time.ParseDuration(cmp.Or(os.Getenv(chaosFor), "0s"))
	if err != nil {
		t.Fatalf("%s: %v", chaosFor, err)
	}
	x := newTurmoil(t)
	t.Logf("seed %d", seed)
	done := 0
	t.Cleanup(func() {
		if t.Failed() {
			target := "chaos"
			if x.cluster != nil {
				target = "chaos-kafka"
			}
			t.Logf("what was done:\n%s\nthe same once more: make %s SEED=%d ROUNDS=%d", strings.Join(x.notes, "\n"), target, seed, max(done, 1))
		}
	})

	until, enough := context.WithCancel(t.Context())
	defer enough()
	x.source = &held{Producer: x.producer(100)}
	truth := make(chan oracle.Expected, 1)
	go func() {
		defer close(truth)
		truth <- x.playTo(company.Config{Seed: seed, Accounts: 20_000, History: -1}, x.source, until)
	}()
	x.startMember(0)
	x.startMember(1)
	x.members[0].wait("the first rows", 2*time.Minute, func(now cli.Progress) bool { return now.Rows > 0 })

	begun := time.Now()
	for _, f := range chaos.Schedule(seed, rounds, x.weights()) {
		if atLeast > 0 && time.Since(begun) > atLeast {
			break
		}
		done++
		x.note("%s %s", time.Since(begun).Round(time.Second), f)
		x.do(f)
		x.rest(f.Pause)
		x.lookAfter()
		if len(truth) > 0 || t.Failed() {
			t.Fatal("the company has ended before the faults have")
		}
	}
	enough()
	expected, ok := <-truth
	if !ok {
		t.Fatal("the company was not written")
	}
	x.calm()
	last := x.members[0]
	last.settle()
	leaveOut := []string{}
	if x.cluster != nil || x.kafka != nil {
		leaveOut = append(leaveOut, "feed_health") // see TestOutages
	}
	x.check(expected, leaveOut...)
	last.term()
	t.Logf("%d faults, %d of them kills, in %s: 0 wrong rows", done, x.kills, time.Since(begun).Round(time.Second))
}

func newTurmoil(t *testing.T) *turmoil {
	x := &turmoil{other: os.Getenv(chaosBinary)}
	if os.Getenv(chaosBrokers) == "3" {
		var err error
		if x.cluster, err = chaos.StartCluster(t.Context(), kafkatest.Script(t), t.TempDir()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				for i, b := range x.cluster.Brokers {
					t.Logf("end of the log of broker %d:\n%s", i+1, b.LogTail())
				}
			}
			x.cluster.Close()
		})
		x.world = newWorldOn(t, "company", x.cluster.Addresses())
	} else {
		x.world = newWorld(t, "company")
	}
	at, err := url.Parse(x.p.RegistryURL())
	if err != nil {
		t.Fatal(err)
	}
	x.registry, x.engine = x.link(at.Host), x.link(x.p.ClickHouseAddr())
	x.registryURL, x.engineAddr = "http://"+x.registry.Addr(), x.engine.Addr()
	return x
}

func (x *turmoil) link(target string) *chaos.Proxy {
	x.t.Helper()
	p, err := chaos.NewProxy(target)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(p.Close)
	return p
}

// weights are the faults that can be done here. The embedded broker does not
// claim to bear a crash, so that it is only restarted in order.
func (x *turmoil) weights() chaos.Weights {
	w := chaos.Weights{
		chaos.KillMember: 20, chaos.KillMembers: 4, chaos.FreezeMember: 2, chaos.DrainMember: 2, chaos.Storm: 1, chaos.RestartIdle: 1,
		chaos.KillEngine: 3, chaos.FreezeEngine: 1, chaos.KillRegistry: 2, chaos.FreezeRegistry: 1,
		chaos.SpoilEngine: 3, chaos.SpoilRegistry: 1,
	}
	if x.other != "" {
		w[chaos.UpgradeMember] = 2
	}
	if x.cluster != nil || x.kafka != nil {
		w[chaos.KillBroker] = 8
	}
	if x.cluster != nil {
		w[chaos.FreezeBroker], w[chaos.SpoilBroker] = 2, 4
		if x.cluster.Brokers[0].Disk != "" {
			w[chaos.FillDisk] = 1
		}
	}
	return w
}

func (x *turmoil) do(f chaos.Fault) {
	x.t.Helper()
	if f.Kind.Kills() {
		x.kills++
	}
	slot := x.pick(f.Target)
	switch f.Kind {
	case chaos.KillMember:
		x.members[slot].kill()
		x.rest(f.For)
		x.startMember(slot)
	case chaos.KillMembers:
		var gone []int
		for s, m := range x.members {
			if m != nil {
				m.kill()
				gone = append(gone, s)
			}
		}
		x.kills += len(gone) - 1 // one is counted above
		x.rest(f.For)
		for _, s := range gone {
			x.startMember(s)
		}
	case chaos.FreezeMember:
		x.members[slot].signal(syscall.SIGSTOP)
		x.rest(f.For)
		x.members[slot].signal(syscall.SIGCONT)
	case chaos.DrainMember:
		x.drain(slot)
		x.startMember(slot)
	case chaos.UpgradeMember:
		x.drain(slot)
		x.foreign[slot] = true
		x.startMember(slot)
	case chaos.Storm:
		for i := range 6 {
			if s := (f.Target + i) % slots; x.members[s] == nil {
				x.startMember(s)
			} else if x.up() > 1 {
				x.drain(s)
			}
			x.rest(f.For / 4)
		}
	case chaos.RestartIdle:
		x.restartIdle(f)
	case chaos.KillEngine:
		x.must(x.p.Kill(embedded.EngineName))
	case chaos.FreezeEngine:
		x.freeze(embedded.EngineName, f.For)
	case chaos.KillRegistry:
		x.must(x.p.Kill(embedded.RegistryName))
	case chaos.FreezeRegistry:
		x.freeze(embedded.RegistryName, f.For)
	case chaos.SpoilEngine:
		x.spoil(x.engine, f)
	case chaos.SpoilRegistry:
		x.spoil(x.registry, f)
	case chaos.KillBroker, chaos.FreezeBroker, chaos.FillDisk, chaos.SpoilBroker:
		x.doBroker(f)
	}
}

func (x *turmoil) doBroker(f chaos.Fault) {
	x.t.Helper()
	if x.cluster == nil {
		x.kafka.Kill(x.t)
		x.rest(f.For)
		x.kafka.Restart(x.t)
		return
	}
	b := x.cluster.Brokers[f.Target%len(x.cluster.Brokers)]
	switch f.Kind {
	case chaos.KillBroker:
		b.Kill()
		x.rest(f.For)
		x.must(b.Start())
	case chaos.FreezeBroker:
		x.must(b.Signal(syscall.SIGSTOP))
		x.rest(f.For)
		x.must(b.Signal(syscall.SIGCONT))
	case chaos.SpoilBroker:
		x.spoil(b.Proxy, f)
		return
	default: // FillDisk
		free, err := b.Fill()
		x.must(err)
		x.rest(f.For)
		free()
		if !b.Running() {
			x.must(b.Start())
		}
	}
	// One at a time is what three brokers bear; the next fault may be another's.
	x.must(x.cluster.Await(x.t.Context()))
}

// restartIdle lets all come to rest, with the queues emptied, and starts all
// anew, the embedded broker too.
func (x *turmoil) restartIdle(f chaos.Fault) {
	x.t.Helper()
	x.source.mu.Lock()
	defer x.source.mu.Unlock()
	if err := x.source.Flush(x.t.Context()); err != nil {
		x.t.Fatal(err)
	}
	x.rest(f.For + 2*time.Second)
	for s, m := range x.members {
		if m != nil {
			x.drain(s)
		}
	}
	if x.cluster == nil {
		x.restartBroker()
	}
	x.startMember(0)
	x.startMember(1)
}

func (x *turmoil) startMember(slot int) {
	x.t.Helper()
	args := []string{"--slot", strconv.Itoa(slot)}
	if x.foreign[slot] {
		x.members[slot] = x.startAs(x.other, args...)
		x.foreign[slot] = false // back at its next start
		return
	}
	x.members[slot] = x.start(args...)
}

// drain ends a member in order. Amid faults the ten seconds of its promise may
// not be enough, and then it is killed.
func (x *turmoil) drain(slot int) {
	m := x.members[slot]
	m.signal(syscall.SIGTERM)
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	select {
	case <-m.done:
	case <-timer.C:
		m.signal(syscall.SIGQUIT) // it tells where it is
		<-m.done
		m.mu.Lock()
		x.note("  slot %d did not drain within 30 s:\n%s", slot, tail(m.errs.String(), 20_000))
		m.mu.Unlock()
	}
	x.members[slot] = nil
}

// pick is a member that is up: the nth, counted round.
func (x *turmoil) pick(n int) int {
	var up []int
	for s, m := range x.members {
		if m != nil {
			up = append(up, s)
		}
	}
	return up[n%len(up)]
}

func (x *turmoil) up() (n int) {
	for _, m := range x.members {
		if m != nil {
			n++
		}
	}
	return n
}

// lookAfter starts members again that have ended by themselves: one that was
// frozen is fenced, and a service manager would start it again.
func (x *turmoil) lookAfter() {
	x.t.Helper()
	for s, m := range x.members {
		if m == nil {
			continue
		}
		select {
		case <-m.done:
			x.note("  slot %d had ended: %v: %s", s, m.err, m.lastWords())
			x.startMember(s)
		default:
		}
	}
}

func (p *pipelines) lastWords() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(p.errs.String()), "\n")
	return tail(lines[len(lines)-1], 300)
}

// calm ends all faults and leaves one member, of this binary.
func (x *turmoil) calm() {
	x.t.Helper()
	if x.cluster != nil {
		for _, b := range x.cluster.Brokers {
			if !b.Running() {
				x.must(b.Start())
			}
		}
		x.must(x.cluster.Await(x.t.Context()))
	}
	x.must(x.p.Up(x.t.Context(), embedded.RegistryName))
	x.must(x.p.Up(x.t.Context(), embedded.EngineName))
	for s, m := range x.members {
		if m != nil {
			x.drain(s)
		}
	}
	x.startMember(0)
}

func (x *turmoil) freeze(child string, d time.Duration) {
	x.t.Helper()
	pid := x.p.Pids()[child]
	if pid == 0 {
		return // it is being started again
	}
	x.must(syscall.Kill(pid, syscall.SIGSTOP))
	x.rest(d)
	x.must(syscall.Kill(pid, syscall.SIGCONT))
}

func (x *turmoil) spoil(p *chaos.Proxy, f chaos.Fault) {
	p.Set(f.Mode)
	x.rest(f.For)
	p.Set(chaos.Plain)
}

func (x *turmoil) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *turmoil) rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.t.Context().Done():
	}
}

func (x *turmoil) note(format string, args ...any) {
	x.notes = append(x.notes, fmt.Sprintf(format, args...))
	if os.Getenv(chaosSeed) != "" {
		x.t.Logf(format, args...)
	}
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
