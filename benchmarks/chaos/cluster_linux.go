package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// size is the number of brokers: with two copies needed for a commit, one of
// them may be down.
const size = 3

// Cluster is an Apache Kafka of three brokers, each its own controller too, on
// 127.0.0.1. Clients reach a broker through its proxy only; the brokers reach
// each other directly. It is to be used by one goroutine.
type Cluster struct {
	Brokers []*Broker
	starter *starter
}

// Broker is one of them.
type Broker struct {
	Proxy *Proxy
	// Disk is a file system of the broker's own, of limited size; "" where there
	// is no right to mount one.
	Disk string

	id      int
	dir     string   // configuration and log
	java    []string // how Java is called, up to the class
	starter *starter
	cmd     *exec.Cmd
	done    chan struct{}
}

// StartCluster starts three brokers with data below dir. script is
// deploy/local/kafka.sh, which knows the jars. They end with Close, and with
// this process.
func StartCluster(ctx context.Context, script, dir string) (_ *Cluster, err error) {
	out, err := exec.CommandContext(ctx, "bash", script, "fetch").Output() //nolint:gosec // our own script
	if err != nil {
		return nil, fmt.Errorf("fetching Kafka: %w", err)
	}
	c := &Cluster{starter: newStarter()}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	ports, err := freePorts(2 * size)
	if err != nil {
		return nil, err
	}
	var voters []string
	for i := range size {
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", i+1, ports[size+i]))
	}
	for i := range size {
		b := &Broker{id: i + 1, dir: filepath.Join(dir, fmt.Sprintf("broker-%d", i+1)), starter: c.starter}
		b.java = []string{
			"-cp", strings.TrimSpace(string(out)) + "/*", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true",
			"-Dlog4j2.configurationFile=" + filepath.Join(filepath.Dir(script), "kafka", "log4j2.properties"), "-Dsyncline.log=" + b.logPath(),
		}
		c.Brokers = append(c.Brokers, b)
		clients, err := freePorts(1)
		if err != nil {
			return nil, err
		}
		if b.Proxy, err = NewProxy(fmt.Sprintf("127.0.0.1:%d", clients[0])); err != nil {
			return nil, err
		}
		if err := b.prepare(clients[0], ports[i], ports[size+i], strings.Join(voters, ",")); err != nil {
			return nil, err
		}
	}
	var all sync.WaitGroup
	errs := make([]error, size)
	for i, b := range c.Brokers {
		all.Go(func() {
			if errs[i] = b.format(ctx); errs[i] == nil {
				errs[i] = b.Start()
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, c.Await(ctx)
}

// Addresses are where clients go.
func (c *Cluster) Addresses() []string {
	var addrs []string
	for _, b := range c.Brokers {
		addrs = append(addrs, b.Proxy.Addr())
	}
	return addrs
}

// Await returns when all brokers are there.
func (c *Cluster) Await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addresses()...))
	if err != nil {
		return err
	}
	defer cl.Close()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		there, err := kadm.NewClient(cl).ListBrokers(ctx)
		if err == nil && len(there) == size {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for three brokers: %d are there: %w", len(there), errors.Join(ctx.Err(), err))
		}
	}
}

// Close kills all brokers and frees what they had.
func (c *Cluster) Close() {
	for _, b := range c.Brokers {
		b.Kill()
		if b.Proxy != nil {
			b.Proxy.Close()
		}
	}
	c.starter.close()
}

// diskBytes is the size of a broker's own file system.
const diskBytes = 1 << 30

func (b *Broker) prepare(clients, brokers, controllers int, voters string) error {
	data := filepath.Join(b.dir, "disk")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	b.starter.do(func() {
		if b.starter.mounts && syscall.Mount("tmpfs", data, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes)) == nil {
			b.Disk = data
		}
	})
	lines := []string{
		"process.roles=broker,controller",
		fmt.Sprintf("node.id=%d", b.id),
		"controller.quorum.voters=" + voters,
		fmt.Sprintf("listeners=CLIENTS://127.0.0.1:%d,BROKERS://127.0.0.1:%d,CONTROLLERS://127.0.0.1:%d", clients, brokers, controllers),
		fmt.Sprintf("advertised.listeners=CLIENTS://127.0.0.1:%d,BROKERS://127.0.0.1:%d", b.Proxy.Port(), brokers),
		"listener.security.protocol.map=CLIENTS:PLAINTEXT,BROKERS:PLAINTEXT,CONTROLLERS:PLAINTEXT",
		"inter.broker.listener.name=BROKERS",
		"controller.listener.names=CONTROLLERS",
		"log.dirs=" + filepath.Join(data, "log"),
		"default.replication.factor=3",
		"min.insync.replicas=2",
		"offsets.topic.replication.factor=3",
		"transaction.state.log.replication.factor=3",
		"transaction.state.log.min.isr=2",
		"share.coordinator.state.topic.replication.factor=3",
		"share.coordinator.state.topic.min.isr=2",
		"offsets.topic.num.partitions=4",
		"transaction.state.log.num.partitions=4",
		"group.initial.rebalance.delay.ms=0",
		// A broker that is killed is to be missed soon, for the next fault comes soon.
		"broker.session.timeout.ms=6000",
		"broker.heartbeat.interval.ms=1000",
		"replica.lag.time.max.ms=6000",
		"auto.create.topics.enable=false",
		"log.segment.bytes=67108864",
	}
	return os.WriteFile(filepath.Join(b.dir, "server.properties"), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

func (b *Broker) logPath() string { return filepath.Join(b.dir, "kafka.log") }

// clusterID is any id; all three have to have the same.
const clusterID = "c3luY2xpbmUtY2hhb3NfMQ"

func (b *Broker) format(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "java", append(slices.Clone(b.java), "-Xmx256m", "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", filepath.Join(b.dir, "server.properties"))...) //nolint:gosec // Kafka
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := b.starter.start(cmd); err != nil {
		return fmt.Errorf("formatting broker %d: %w", b.id, err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("formatting broker %d: %w\n%s", b.id, err, out.String())
	}
	return nil
}

// Start starts the broker on its data; it does not wait until it answers.
func (b *Broker) Start() error {
	log, err := os.OpenFile(filepath.Join(b.dir, "kafka.out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()                                                                                                                             // the process has its own
	cmd := exec.Command("java", append(slices.Clone(b.java), "-Xms64m", "-Xmx512m", "kafka.Kafka", filepath.Join(b.dir, "server.properties"))...) //nolint:gosec // Kafka
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := b.starter.start(cmd); err != nil {
		return fmt.Errorf("starting broker %d: %w", b.id, err)
	}
	done := make(chan struct{})
	b.cmd, b.done = cmd, done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	return nil
}

// Running says whether the process is there.
func (b *Broker) Running() bool {
	if b.cmd == nil {
		return false
	}
	select {
	case <-b.done:
		return false
	default:
		return true
	}
}

// Kill ends the broker by SIGKILL and returns when it is gone.
func (b *Broker) Kill() {
	if b.Running() {
		_ = b.cmd.Process.Kill()
		<-b.done
	}
}

// Signal sends a signal to the broker, if it runs.
func (b *Broker) Signal(s syscall.Signal) error {
	if !b.Running() {
		return nil
	}
	return b.cmd.Process.Signal(s)
}

// Fill takes all room of the broker's disk; the result gives it back.
func (b *Broker) Fill() (free func(), err error) {
	path := filepath.Join(b.Disk, "filler")
	b.starter.do(func() { err = fill(path) })
	if err != nil {
		return nil, fmt.Errorf("filling the disk of broker %d: %w", b.id, err)
	}
	return func() { b.starter.do(func() { _ = os.Remove(path) }) }, nil
}

func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var disk syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &disk); err != nil {
		return err
	}
	// The broker takes of the room meanwhile, so that what is left is taken bit by bit.
	at := int64(0)
	for n := int64(disk.Bavail) * disk.Bsize; n >= disk.Bsize; { //nolint:gosec // a size
		switch err := syscall.Fallocate(int(f.Fd()), 0, at, n); {
		case err == nil:
			at += n
		case errors.Is(err, syscall.ENOSPC):
			n /= 2
		default:
			return err
		}
	}
	return nil
}

// LogTail is the end of what the broker has said.
func (b *Broker) LogTail() string {
	text, _ := os.ReadFile(b.logPath())
	return string(text[max(0, len(text)-4000):])
}

// freePorts finds ports below those that the system gives to outgoing
// connections: one of these could take a broker's port while it is down.
func freePorts(n int) ([]int, error) {
	var ports []int
	for try := 20_000 + os.Getpid()%5_000; len(ports) < n && try < 32_000; try++ {
		taken.Lock()
		if !taken.ports[try] {
			if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", try)); err == nil {
				_ = l.Close()
				taken.ports[try] = true
				ports = append(ports, try)
			}
		}
		taken.Unlock()
	}
	if len(ports) < n {
		return nil, errors.New("no free ports between 20000 and 32000")
	}
	return ports, nil
}

// taken are ports that were given out by this process.
var taken = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// starter is one thread that starts processes, so that they die with this one:
// the system watches the thread. What it mounts only it and they see, and it is
// gone with the last of them.
type starter struct {
	orders chan func()
	mounts bool // it has a view of its own of what is mounted
}

func newStarter() *starter {
	s := &starter{orders: make(chan func())}
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		for order := range s.orders {
			order()
		}
	}()
	s.do(func() {
		s.mounts = syscall.Unshare(syscall.CLONE_NEWNS) == nil && syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "") == nil
	})
	return s
}

func (s *starter) do(order func()) {
	done := make(chan struct{})
	s.orders <- func() {
		defer close(done)
		order()
	}
	<-done
}

func (s *starter) start(cmd *exec.Cmd) (err error) {
	s.do(func() { err = cmd.Start() })
	return err
}

func (s *starter) close() { close(s.orders) }
