package run

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/schemas/change"
)

// Config is what the engine needs besides the topology. The zero value of a
// field means its default; Prefix and Brokers have none worth relying on.
type Config struct {
	// Brokers are the bootstrap addresses, host:port.
	Brokers []string
	// ClientOpts go to every Kafka client after the engine's own connection
	// options: SASL, TLS, a dialer. They must not touch groups or transactions.
	ClientOpts []kgo.Opt
	// Prefix begins group, transactional and instance ids ("syncline"). Topics
	// carry full names already and get no prefix.
	Prefix string
	// Slot numbers this process among those that run the same hops, from 0. Two
	// live processes with one slot fence each other; a restarted one takes its
	// slot over at once.
	Slot int

	// TransactionTimeout is how long the broker waits for a dead producer before
	// it aborts its transaction; readers downstream stand still for so long. 10 s.
	TransactionTimeout time.Duration
	// SessionTimeout is how long the group waits for a dead member. 8 s.
	SessionTimeout time.Duration
	// Heartbeat is the interval of group heartbeats. 1 s.
	Heartbeat time.Duration
	// DrainTimeout bounds the end of the transaction under way after the context
	// is cancelled; past it the broker aborts the transaction. 8 s.
	DrainTimeout time.Duration
	// LeaveOnDrain makes a draining member leave its group, so that others take
	// its partitions at once. By default it keeps them for its restart.
	LeaveOnDrain bool

	// CommitFloor is the least time between two transactions. It rises by itself
	// so that ending them takes at most a quarter of the time. 5 ms.
	CommitFloor time.Duration
	// CommitCeiling is the longest time that input is gathered into one
	// transaction. 100 ms.
	CommitCeiling time.Duration
	// TransactionBytes bounds the input and the output of one transaction. By
	// default a quarter of the hop's share of MaxBufferedBytes.
	TransactionBytes int
	// AdvanceBudget is how many output records of deferred work one transaction
	// takes (Task.Advance). 2,000.
	AdvanceBudget int
	// RetryDelay is the pause before a waiting record is asked again. 250 ms.
	RetryDelay time.Duration

	// MaxBufferedBytes is the budget of all fetch and produce buffers of the
	// process; the hops share it evenly. 64 MiB, at least 4 MiB a hop.
	MaxBufferedBytes int
	// MaxRecordBytes bounds key and value of one output or changelog record, and
	// is set (with room for a letter's frame) as max.message.bytes of the topics
	// that the engine creates. 1 MiB.
	MaxRecordBytes int
	// MaxDecompressBatchBytes bounds what one fetched batch may inflate to. 64 MiB.
	MaxDecompressBatchBytes int
	// Compression of produced batches: none, lz4, zstd or snappy. lz4. On
	// loopback none saves nearly half of the CPU.
	Compression string
	// Replication of topics that the engine creates; -1 is the broker's default.
	Replication int16

	// LetterTopic receives parked records. Empty Name: a Park verdict stops its
	// task. EncodeLetter gives the place and the bytes of a letter.
	LetterTopic  Topic
	EncodeLetter func(change.Letter) (topic string, partitionKey, key, value []byte, err error)

	// Instructions is the topic that tells tasks what operators want; it has one
	// partition. Empty Name: there are none.
	Instructions     Topic
	InstructionCodec InstructionCodec
	// Generation is the number of rebuilds before, plus one. Run ends with
	// ErrGeneration when an instruction begins a later one. 1.
	Generation int

	// TopicRefresh is how often absent source topics are looked for and partition
	// counts are checked. 2 s.
	TopicRefresh time.Duration
	// PurgeInterval is how often internal queues are emptied behind their reader.
	// 30 s.
	PurgeInterval time.Duration
	// FailWhenStopped makes Run return an error at drain if a task has stopped.
	FailWhenStopped bool
	// Debug compares the hash of each task's state before a transaction with that
	// after its abort.
	Debug bool
	// Crash is called at labelled points; an error abandons the hop there as a
	// kill would: nothing is ended, nothing told to the broker. Tests only.
	Crash func(point string) error

	Log *slog.Logger
}

// The labelled points of Config.Crash.
const (
	CrashAfterPoll    = "after-poll"
	CrashBeforeBegin  = "before-begin"
	CrashAfterProduce = "after-produce"
	CrashBeforeEnd    = "before-end" // offsets are in the transaction, End is not sent
	CrashAfterEnd     = "after-end"  // committed at the broker, not yet applied here
	CrashMidRestore   = "mid-restore"
)

var prefixRule = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,80}$`)

func defaulted[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) withDefaults() Config {
	defaulted(&c.Generation, 1)
	defaulted(&c.Prefix, "syncline")
	defaulted(&c.TransactionTimeout, 10*time.Second)
	defaulted(&c.SessionTimeout, 8*time.Second)
	defaulted(&c.Heartbeat, time.Second)
	defaulted(&c.DrainTimeout, 8*time.Second)
	defaulted(&c.CommitFloor, 5*time.Millisecond)
	defaulted(&c.CommitCeiling, 100*time.Millisecond)
	defaulted(&c.AdvanceBudget, 2000)
	defaulted(&c.RetryDelay, 250*time.Millisecond)
	defaulted(&c.MaxBufferedBytes, 64<<20)
	defaulted(&c.MaxRecordBytes, 1<<20)
	defaulted(&c.MaxDecompressBatchBytes, 64<<20)
	defaulted(&c.Compression, "lz4")
	defaulted(&c.Replication, -1)
	defaulted(&c.TopicRefresh, 2*time.Second)
	defaulted(&c.PurgeInterval, 30*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate says what is wrong with the configuration after defaults, or nil.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Brokers) == 0 {
		wrong("brokers: none given; name at least one host:port")
	}
	if !prefixRule.MatchString(c.Prefix) {
		wrong("prefix %q: must be 1 to 80 of letters, digits, dot, underscore and hyphen", c.Prefix)
	}
	if c.Slot < 0 {
		wrong("slot %d: must be 0 or more", c.Slot)
	}
	if _, err := compression(c.Compression); err != nil {
		errs = append(errs, err)
	}
	if c.Heartbeat*3 > c.SessionTimeout {
		wrong("heartbeat %s: must be at most a third of the session time-out %s", c.Heartbeat, c.SessionTimeout)
	}
	if c.MaxRecordBytes < 1<<10 || c.MaxRecordBytes > 64<<20 {
		wrong("max record bytes %d: must be from 1 KiB to 64 MiB", c.MaxRecordBytes)
	}
	if c.AdvanceBudget < 0 || c.TransactionBytes < 0 || c.MaxBufferedBytes < 0 {
		wrong("budgets must not be negative")
	}
	if c.LetterTopic.Name != "" && (c.EncodeLetter == nil || c.LetterTopic.Partitions < 1) {
		wrong("letter topic %q: needs an encoder and at least one partition", c.LetterTopic.Name)
	}
	if i := c.Instructions; i.Name != "" && (c.InstructionCodec == nil || i.Partitions != 1 || i.Cleanup != Compact) {
		wrong("instructions topic %q: needs a codec, one partition and to be compacted", i.Name)
	}
	return errors.Join(errs...)
}

func compression(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none":
		return kgo.NoCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	}
	return kgo.CompressionCodec{}, fmt.Errorf("compression %q: must be none, lz4, zstd or snappy", name)
}

// share is the byte budget of one of n hops. Of it a quarter may lie fetched, a
// quarter on the wire, a quarter in the transaction under way and a quarter in
// the produce buffer.
func (c Config) share(hops int) int {
	return max(c.MaxBufferedBytes/max(hops, 1), 4<<20)
}

// letterRoom is what a batch may take above MaxRecordBytes: the frame of the
// batch and, for letters, the fields around the original record.
const letterRoom = 64 << 10

// connectOpts are the options of every client.
func (c Config) connectOpts(clientID string) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(clientID),
		kgo.MaxDecompressBatchBytes(c.MaxDecompressBatchBytes),
		kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.MetadataMaxAge(time.Minute),
		kgo.RetryBackoffFn(func(tries int) time.Duration {
			return min(time.Duration(50<<min(tries, 6))*time.Millisecond, 2*time.Second)
		}),
	}
	return append(opts, c.ClientOpts...)
}

// memberOpts are the options of a consumer that is a static member of a group:
// read committed, offsets never reset, rebalances only between polls.
func (c Config) memberOpts(group, id string, fetchBytes, partitions int) []kgo.Opt {
	opts := append(c.connectOpts(id),
		kgo.ConsumerGroup(group),
		kgo.InstanceID(id),
		kgo.SessionTimeout(c.SessionTimeout),
		kgo.HeartbeatInterval(c.Heartbeat),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		// A resumed partition joins at the next fetch, so an idle one must be short.
		kgo.FetchMaxWait(200*time.Millisecond),
	)
	return append(opts, fetchOpts(fetchBytes, partitions)...)
}

// partitionsAbout is what a topic is taken to have while its count is not known:
// when a client is made, topics may still be absent.
const partitionsAbout = 4

// fetchOpts bound one fetch of about so many partitions to bytes, by a limit for
// each partition, of at least 64 KiB. The limit over all of them is so high that
// no answer reaches it: the embedded broker cuts such an answer off before it
// says which transactions in it were aborted, and their records would count.
func fetchOpts(bytes, partitions int) []kgo.Opt {
	const least, most, ceiling = 64 << 10, 1 << 20, 96 << 20 // a client reads at most 100 MiB
	each := min(max(bytes/max(partitions, 1), least), most)
	return []kgo.Opt{
		kgo.FetchMaxPartitionBytes(int32(each)),         //nolint:gosec // at most 1 MiB
		kgo.FetchMaxBytes(int32(min(8*bytes, ceiling))), //nolint:gosec // at most 96 MiB
	}
}
