package broker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// producer is who writes transactions.
type producer struct {
	id    int64
	epoch int16
}

// undecided are the partitions in which a producer's transaction has neither been
// committed nor aborted.
type undecided map[producer]kadm.TopicsSet

// findUndecided reads the segments of an ended broker. kfake takes what is open
// there for aborted, but writes no marker: a reader of what is committed never gets
// to the end of such a partition, and the producer's next commit would, read back
// later, cover what was aborted.
func findUndecided(dir string) (undecided, error) {
	open := undecided{}
	folders, err := os.ReadDir(filepath.Join(dir, "partitions"))
	if errors.Is(err, fs.ErrNotExist) {
		return open, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for open transactions: %w", err)
	}
	for _, folder := range folders {
		cut := strings.LastIndexByte(folder.Name(), '-')
		if cut < 0 {
			continue
		}
		topic, err := url.PathUnescape(folder.Name()[:cut])
		if err != nil {
			return nil, fmt.Errorf("looking for open transactions in %s: %w", folder.Name(), err)
		}
		partition, err := strconv.ParseInt(folder.Name()[cut+1:], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("looking for open transactions in %s: %w", folder.Name(), err)
		}
		producers, err := openIn(filepath.Join(dir, "partitions", folder.Name()))
		if err != nil {
			return nil, fmt.Errorf("looking for open transactions in %s: %w", folder.Name(), err)
		}
		for _, p := range producers {
			topics := open[p]
			topics.Add(topic, int32(partition))
			open[p] = topics
		}
	}
	return open, nil
}

// openIn reads the segments of one partition, in order.
func openIn(folder string) ([]producer, error) {
	names, err := filepath.Glob(filepath.Join(folder, "*.dat"))
	if err != nil {
		return nil, err
	}
	base := func(name string) int64 {
		n, _ := strconv.ParseInt(strings.TrimSuffix(filepath.Base(name), ".dat"), 10, 64) // kfake named it
		return n
	}
	slices.SortFunc(names, func(a, b string) int { return int(base(a) - base(b)) })
	open := map[int64]int16{}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		err = walkBatches(f, open)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	var out []producer
	for id, epoch := range open {
		out = append(out, producer{id, epoch})
	}
	return out, nil
}

// walkBatches notes which producers' transactions open and end in a segment: record
// batches of format 2, one behind another (Kafka protocol guide, "Record Batch").
// A batch that the end of the broker has torn is the last one.
func walkBatches(segment io.Reader, open map[int64]int16) error {
	const (
		head          = 61 // bytes of a batch before its records
		transactional = 0x10
		control       = 0x20
	)
	r := bufio.NewReaderSize(segment, 1<<16)
	h := make([]byte, head)
	for {
		if _, err := io.ReadFull(r, h); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return err
		}
		rest := int64(int32(binary.BigEndian.Uint32(h[8:]))) + 12 - head //nolint:gosec // a length as it is written
		if rest < 0 || h[16] != 2 {
			return nil
		}
		if n, err := r.Discard(int(rest)); errors.Is(err, io.EOF) && int64(n) < rest {
			return nil
		} else if err != nil {
			return err
		}
		attributes := binary.BigEndian.Uint16(h[21:])
		id, epoch := int64(binary.BigEndian.Uint64(h[43:])), int16(binary.BigEndian.Uint16(h[51:])) //nolint:gosec // as they are written
		switch {
		case attributes&control != 0:
			delete(open, id)
		case attributes&transactional != 0:
			open[id] = epoch
		}
	}
}

// abort writes the markers that are missing. Until it has, no producer gets an id:
// its new transaction would be taken for the old one.
func (u undecided) abort(cluster *kfake.Cluster) error {
	if len(u) == 0 {
		return nil
	}
	var done atomic.Bool
	cluster.ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
		if done.Load() {
			return nil, nil, false
		}
		cluster.KeepControl()
		wait := r.ResponseKind().(*kmsg.InitProducerIDResponse) //nolint:forcetypeassert // by its key
		wait.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		return wait, nil, true
	})
	defer done.Store(true)
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		return fmt.Errorf("aborting open transactions: %w", err)
	}
	defer cl.Close()
	var markers []kadm.TxnMarkers
	for p, topics := range u {
		markers = append(markers, kadm.TxnMarkers{ProducerID: p.id, ProducerEpoch: p.epoch, Topics: topics})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	written, err := kadm.NewClient(cl).WriteTxnMarkers(ctx, markers...)
	if err == nil {
		written.EachPartition(func(p kadm.TxnMarkersPartitionResponse) {
			if p.Err != nil {
				err = errors.Join(err, fmt.Errorf("%s/%d: %w", p.Topic, p.Partition, p.Err))
			}
		})
	}
	if err != nil {
		return fmt.Errorf("aborting open transactions: %w", err)
	}
	return nil
}
