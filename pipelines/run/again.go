package run

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/schemas/change"
)

// The instructions to read records of an input once more, beside the input's own
// position: those of letters, or a range. The engine reads them from their places
// and gives them to a task that is a Rereader. Their body is an AgainBody.
const (
	KindRedrive = "letters.redrive"
	KindReplay  = "replay"
)

// AgainBody says which records are read once more.
type AgainBody struct {
	// Ranges are offsets by partition: from the first of each pair to before the
	// second.
	Ranges map[int32][][2]int64 `json:"ranges"`
	// Rows are, where they are known, the rows that the records are about, by
	// partition and offset.
	Rows map[int32]map[int64]string `json:"rows,omitempty"`
}

// Rereader is a task that can take a record once more. Again is called for each
// record of an instruction, in order of offsets, in as many transactions as there
// must be; after a crash it begins anew with the first. What it changes must
// depend on what the record says, and not on how often it was read.
type Rereader interface {
	Again(i *Instruction, m *Message, out Emitter) change.Verdict
}

func (i *Instruction) rereads() bool { return i.Kind == KindRedrive || i.Kind == KindReplay }

// again reads the body of an instruction to read again.
func (i *Instruction) again() (body AgainBody, err error) {
	if err := json.Unmarshal(i.Body, &body); err != nil {
		return body, fmt.Errorf("instruction %s: its body does not say which records: %w", i.ID, err)
	}
	return body, nil
}

// Records are how many offsets an instruction names in its body, and of how many
// partitions: those that are read again, or whose letters are settled. Other
// instructions name none.
func (i *Instruction) Records() (offsets int64, partitions int) {
	body, err := i.again()
	if err != nil {
		return 0, 0
	}
	for _, ranges := range body.Ranges {
		for _, r := range ranges {
			offsets += r[1] - r[0]
		}
	}
	return offsets, len(body.Ranges)
}

// ranges are what a task has to read again, ascending and apart.
func (i *Instruction) ranges(partition int32) [][2]int64 {
	body, err := i.again()
	if err != nil {
		return nil // nothing can be read, and the task has obeyed
	}
	all := slices.Clone(body.Ranges[partition])
	slices.SortFunc(all, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	return all
}

// nextAgain is the first instruction to read again that is not done; nil if there
// is none.
func (o *obedience) nextAgain() *duty {
	for n := range o.pending {
		if d := &o.pending[n]; d.again && !d.done {
			return d
		}
	}
	return nil
}

// reread is the reading of one instruction's records for one task.
type reread struct {
	of     int64 // offset of the instruction
	i      *Instruction
	chunks chan chunk
	cancel context.CancelFunc
}

// chunk is what one transaction takes of it.
type chunk struct {
	messages []Message
	last     bool
}

// The bounds of a chunk, and the gap across which two ranges are read as one.
const (
	chunkRecords = 200
	chunkBytes   = 1 << 20
	againGap     = 1000
	againIdle    = 3 * time.Second // after which the broker is asked whether more can come
	// againPatience is how often it may say so and nothing comes, as where the
	// last records were compacted away.
	againPatience = 3
)

// startRereads begins to read for tasks that have to take records again.
func (h *hop) startRereads() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.tasks {
		d := t.obedience.nextAgain()
		if d == nil || t.reread != nil || t.stopped != nil {
			continue
		}
		if _, ok := t.impl.(Rereader); !ok {
			d.again = false // it says itself that it does not know this
			t.obedience.reckon()
			continue
		}
		ctx, cancel := context.WithCancel(h.life)
		r := &reread{of: d.offset, i: d.Instruction, chunks: make(chan chunk, 1), cancel: cancel}
		t.reread = r
		h.side.Go(func() { h.readAgain(ctx, t, r) })
	}
}

// readAgain sends the records of an instruction until ctx ends.
func (h *hop) readAgain(ctx context.Context, t *task, r *reread) {
	defer r.cancel()
	id := t.id
	ranges := r.i.ranges(id.partition)
	send := func(c chunk) bool {
		for {
			select {
			case r.chunks <- c:
				h.wake()
				return true
			case <-ctx.Done():
				return false
			case <-time.After(time.Second):
			}
			h.mu.Lock()
			gone := h.tasks[id] != t
			h.mu.Unlock()
			if gone {
				return false
			}
		}
	}
	for len(ranges) > 0 {
		n := 1
		for n < len(ranges) && ranges[n][0]-ranges[n-1][1] <= againGap {
			n++
		}
		if !h.readSpan(ctx, id, ranges[:n], send) {
			return
		}
		ranges = ranges[n:]
	}
	send(chunk{last: true})
}

// readSpan sends the records of neighbouring ranges; false is the end of ctx or of
// the receiver.
func (h *hop) readSpan(ctx context.Context, id partitionID, ranges [][2]int64, send func(chunk) bool) bool {
	next, to := ranges[0][0], ranges[len(ranges)-1][1]
	for try := 1; ; try++ {
		done, err := h.readSome(ctx, id, ranges, &next, to, send)
		if err == nil {
			return done
		}
		if ctx.Err() != nil {
			return false
		}
		h.log.Warn("cannot read records again, trying once more", "task", id, "offset", next, "error", err)
		if !pause(ctx, min(time.Duration(try)*200*time.Millisecond, 5*time.Second)) {
			return false
		}
	}
}

func (h *hop) readSome(ctx context.Context, id partitionID, ranges [][2]int64, next *int64, to int64, send func(chunk) bool) (bool, error) {
	cl, err := kgo.NewClient(append(append(h.cfg.connectOpts(h.clientID+".again"), fetchOpts(1<<20, 1)...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{id.topic: {id.partition: kgo.NewOffset().At(*next)}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(200*time.Millisecond),
	)...)
	if err != nil {
		return false, fmt.Errorf("making the client that reads again: %w", err)
	}
	defer cl.Close()
	var c chunk
	bytes, idle := 0, 0
	flush := func() bool {
		ok := len(c.messages) == 0 || send(c)
		c, bytes = chunk{}, 0
		return ok
	}
	for *next < to {
		pollCtx, cancel := context.WithTimeout(ctx, againIdle)
		fetches := cl.PollRecords(pollCtx, chunkRecords)
		cancel()
		if ctx.Err() != nil {
			return false, nil
		}
		if errors.Is(fetches.Err0(), context.DeadlineExceeded) {
			// The rest was deleted or compacted away, or the broker does not answer.
			gone, err := nothingLeft(ctx, cl, id, next)
			if err != nil {
				return false, err
			}
			if idle++; gone || idle == againPatience {
				break
			}
			continue
		}
		idle = 0
		for _, fe := range fetches.Errors() {
			return false, fmt.Errorf("reading %s again: %w", id, fe.Err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			*next = r.Offset + 1
			if r.Attrs.IsControl() || !slices.ContainsFunc(ranges, func(of [2]int64) bool { return r.Offset >= of[0] && r.Offset < of[1] }) {
				continue
			}
			c.messages = append(c.messages, Message{Topic: id.topic, Partition: id.partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value})
			if bytes += len(r.Key) + len(r.Value); bytes >= chunkBytes || len(c.messages) == chunkRecords {
				if !flush() {
					return false, nil
				}
			}
		}
	}
	return flush(), nil
}

// nothingLeft asks the broker whether a partition has records at an offset or
// behind it; those before its start are passed over.
func nothingLeft(ctx context.Context, cl *kgo.Client, id partitionID, next *int64) (bool, error) {
	admin := kadm.NewClient(cl)
	starts, err := listed(admin.ListStartOffsets(ctx, id.topic))
	if err != nil {
		return false, fmt.Errorf("asking where %s begins: %w", id, err)
	}
	ends, err := listed(admin.ListCommittedOffsets(ctx, id.topic))
	if err != nil {
		return false, fmt.Errorf("asking where %s ends: %w", id, err)
	}
	// Of a topic that is gone, which its task says, both are -1.
	start, _ := starts.Lookup(id.topic, id.partition)
	end, _ := ends.Lookup(id.topic, id.partition)
	*next = max(*next, start.Offset)
	return end.Offset <= *next, nil
}

// takeAgain gives the task what has been read for it. What it thinks of it is in
// t.halt.
func (t *task) takeAgain() {
	if t.reread == nil {
		return
	}
	var c chunk
	select {
	case c = <-t.reread.chunks:
	default:
		return
	}
	if t.next < 0 {
		t.base, t.next = t.start, t.start
	}
	for n := range c.messages {
		m := &c.messages[n]
		v := t.impl.(Rereader).Again(t.reread.i, m, &t.out) //nolint:forcetypeassert // only for such a task is anything read
		if t.out.err != nil {
			t.halt, t.haltReason = t.out.err, "output"
			return
		}
		switch v.Kind {
		case change.Pass:
		case change.Drop, change.Wait:
			t.tally.drop(v.Reason)
		case change.Park:
			if err := t.park(m, v); err != nil {
				t.halt, t.haltReason = err, "letter"
				return
			}
		case change.Stop:
			t.halt, t.haltReason = describeStop(v, t.id, m.Offset), v.Reason
			return
		}
	}
	if d := t.obedience.nextAgain(); c.last && d != nil && d.offset == t.reread.of {
		d.done = true
		t.log.Info("instruction obeyed", "id", d.ID, "kind", d.Kind)
	}
}

// endReread forgets what is read for the task; it begins anew where the
// instruction is not done.
func (t *task) endReread() {
	if t.reread != nil {
		t.reread.cancel()
		t.reread = nil
	}
}
