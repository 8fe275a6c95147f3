// Package broker runs an in-process Kafka broker, franz-go's kfake, that keeps
// its topics, offsets and transactions in a directory.
//
// It is a single broker for evaluation, development and tests. A clean restart
// keeps everything. A kill of its process loses nothing that was acknowledged, but
// it may leave a transaction committed in one partition and not in another, as
// there is no log of transactions. A power cut may also take the last writes, as
// nothing is synced to disk while it runs, unless Config.Sync is set. An unclean
// end is noticed at the next start and stays noted until [Accept] or [Wipe].
package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Config says how a broker runs.
type Config struct {
	// Dir is the broker's own directory.
	Dir string
	// Port on 127.0.0.1; 0 takes a free one.
	Port int
	// Partitions of a topic created without a number; 0 means 4.
	Partitions int
	// Sync writes each batch through to disk: slower, and safer after a crash.
	Sync bool
	Log  *slog.Logger
}

// Broker is a running broker.
type Broker struct {
	dir     string
	addr    string
	cluster *kfake.Cluster
	unclean time.Time
	stop    sync.Once
}

const (
	// runningFile exists while a broker runs; it holds the time of its start.
	runningFile = "running"
	// uncleanFile notes that an earlier run did not end cleanly.
	uncleanFile = "unclean"
	dataDir     = "data"
)

type note struct {
	Since time.Time `json:"since"`
}

// Start runs a broker over config.Dir. Topics are made only on request.
func Start(config Config) (*Broker, error) {
	if config.Partitions == 0 {
		config.Partitions = 4
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making broker directory: %w", err)
	}
	b := &Broker{dir: config.Dir}
	if err := b.mark(); err != nil {
		return nil, err
	}
	var open undecided
	if !b.unclean.IsZero() {
		err := mendLogs(filepath.Join(config.Dir, dataDir))
		if err == nil {
			open, err = findUndecided(filepath.Join(config.Dir, dataDir))
		}
		if err != nil {
			return nil, err
		}
	}
	options := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.Ports(config.Port),
		kfake.DataDir(filepath.Join(config.Dir, dataDir)),
		kfake.DefaultNumPartitions(config.Partitions),
		kfake.ClusterID("syncline-embedded"),
		// As a stock Kafka does: connectors and Java clients count on it.
		kfake.AllowAutoTopicCreation(),
		kfake.MaxVersions(versions()),
		kfake.WithLogger(logger{config.Log}),
		kfake.BrokerConfigs(map[string]string{
			// Replayed feeds carry old timestamps: retention by time would
			// delete them as they arrive.
			"log.retention.ms": "-1",
			// Its compaction takes undecided records for committed ones, and drops
			// what they would replace: it runs at start, when none is open, and
			// otherwise not before a year.
			"log.cleaner.backoff.ms": "31536000000",
		}),
	}
	if config.Sync {
		options = append(options, kfake.SyncWrites())
	}
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return nil, fmt.Errorf("starting the broker over %s on port %d: %w "+
			"(if the port is taken, choose another; if the data is damaged, rebuild from the sources)", config.Dir, config.Port, err)
	}
	keepLastBatch(cluster)
	sayRetention(cluster)
	if err := open.abort(cluster); err != nil {
		cluster.Close()
		return nil, err
	}
	cluster.Compact()
	b.cluster, b.addr = cluster, cluster.ListenAddrs()[0]
	return b, nil
}

// keepLastBatch keeps clients from deleting a partition's records to the very
// end. The cluster reads a partition's offsets back from its segment files: with
// none left they would begin at 0 again after a restart, below every position
// that was committed before.
func keepLastBatch(cluster *kfake.Cluster) {
	cluster.ControlKey(int16(kmsg.DeleteRecords), func(r kmsg.Request) (kmsg.Response, error, bool) {
		for _, topic := range r.(*kmsg.DeleteRecordsRequest).Topics { //nolint:forcetypeassert // by its key
			for i := range topic.Partitions {
				p := &topic.Partitions[i]
				at := cluster.PartitionInfo(topic.Topic, p.Partition)
				if at == nil || at.HighWatermark == at.LogStartOffset {
					continue
				}
				if p.Offset == -1 || p.Offset == at.HighWatermark {
					p.Offset = at.HighWatermark - 1
				}
			}
		}
		return nil, nil, false // carried out as changed
	})
}

// sayRetention writes it into each new topic that records are kept for ever: asked for
// a topic, kfake names its own default and leaves out what the broker was told.
func sayRetention(cluster *kfake.Cluster) {
	const retention = "retention.ms"
	cluster.ControlKey(int16(kmsg.CreateTopics), func(r kmsg.Request) (kmsg.Response, error, bool) {
		topics := r.(*kmsg.CreateTopicsRequest).Topics //nolint:forcetypeassert // by its key
		for i := range topics {
			given := func(c kmsg.CreateTopicsRequestTopicConfig) bool { return c.Name == retention }
			if !slices.ContainsFunc(topics[i].Configs, given) {
				c := kmsg.NewCreateTopicsRequestTopicConfig()
				c.Name, c.Value = retention, kmsg.StringPtr("-1")
				topics[i].Configs = append(topics[i].Configs, c)
			}
		}
		return nil, nil, false // carried out as changed
	})
}

// versions leaves out what kfake answers in a way that Java clients do not read: the
// configurations in the answer of CreateTopics, whose source is none, and
// DescribeTopicPartitions. They use what older brokers have instead.
func versions() *kversion.Versions {
	v := kversion.Stable()
	v.SetMaxKeyVersion(int16(kmsg.CreateTopics), 4)
	v.SetMaxKeyVersion(int16(kmsg.DescribeTopicPartitions), -1)
	return v
}

// mark turns the mark of an earlier run that did not end cleanly into a note,
// and leaves one of this run.
func (b *Broker) mark() error {
	running := filepath.Join(b.dir, runningFile)
	if _, err := os.Stat(running); err == nil {
		if _, err := os.Stat(filepath.Join(b.dir, uncleanFile)); errors.Is(err, fs.ErrNotExist) {
			if err := writeNote(filepath.Join(b.dir, uncleanFile)); err != nil {
				return err
			}
		}
	}
	since, found, err := UncleanSince(b.dir)
	if err != nil {
		return err
	}
	if found {
		b.unclean = since
	}
	return writeNote(running)
}

func writeNote(path string) error {
	raw, err := json.Marshal(note{Since: time.Now().UTC()})
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the broker's mark: %w", err)
	}
	defer f.Close()
	if _, err := f.Write(raw); err != nil {
		return fmt.Errorf("writing the broker's mark: %w", err)
	}
	return f.Sync()
}

// Addr is the host:port clients connect to.
func (b *Broker) Addr() string { return b.addr }

// Unclean gives the time at which an unclean end of an earlier run was
// noticed; the zero time if there was none.
func (b *Broker) Unclean() time.Time { return b.unclean }

// Stop closes the broker and writes everything to disk.
func (b *Broker) Stop() error {
	var err error
	b.stop.Do(func() {
		b.cluster.Close()
		err = os.Remove(filepath.Join(b.dir, runningFile))
	})
	return err
}

// UncleanSince reports whether the broker over dir has ended uncleanly and
// nobody has said what to do about it.
func UncleanSince(dir string) (since time.Time, found bool, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, uncleanFile))
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, fmt.Errorf("reading the broker's note of an unclean end: %w", err)
	}
	var n note
	if err := json.Unmarshal(raw, &n); err != nil {
		// Half a note is a note: the crash hit its writing.
		return time.Unix(0, 0).UTC(), true, nil //nolint:nilerr // see above
	}
	return n.Since, true, nil
}

// Accept drops the note of an unclean end: the data is taken as it is.
func Accept(dir string) error {
	if err := os.Remove(filepath.Join(dir, uncleanFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("dropping the broker's note of an unclean end: %w", err)
	}
	return nil
}

// Wipe deletes all topics, offsets and notes, for a rebuild from the sources.
// No broker may run over dir.
func Wipe(dir string) error {
	for _, name := range []string{dataDir, uncleanFile, runningFile} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("wiping the broker's data: %w", err)
		}
	}
	return nil
}

type logger struct{ log *slog.Logger }

// Logf passes on what matters; kfake reports every request at its info level.
func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Error("kfake: " + fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		l.log.Warn("kfake: " + fmt.Sprintf(format, args...))
	case kfake.LogLevelNone, kfake.LogLevelInfo, kfake.LogLevelDebug:
	}
}
