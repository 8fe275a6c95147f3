package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/schemas/change"
)

// rereader is a witness that writes down what it is given again.
type rereader struct {
	*witness
}

func (r rereader) Again(i *Instruction, m *Message, out Emitter) change.Verdict {
	key := fmt.Appendf(nil, "%s %s/%d@%d", i.ID, m.Topic, m.Partition, m.Offset)
	out.Emit(r.out, key, key, m.Value)
	return change.Verdict{}
}

// Records are read again from their places, those and no others, also where the
// broker could not be reached at first, and where the task had moved on.
func TestRecordsAreReadAgain(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	for p := range int32(toyPartitions) {
		for n := range 100 {
			w.produceRecords(&kgo.Record{Topic: in, Partition: p, Key: []byte{byte(n)}, Value: fmt.Appendf(nil, "a%d", n)})
		}
	}
	var deaf atomic.Bool
	cfg := w.instructed()
	dialer := &net.Dialer{}
	cfg.ClientOpts = append(cfg.ClientOpts, kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
		if deaf.Load() {
			return nil, errors.New("nobody answers")
		}
		return dialer.DialContext(ctx, network, host)
	}))
	hop := w.witnessHop(in)
	tasks := hop.NewTask
	hop.NewTask = func(i TaskInfo) (Task, error) {
		task, err := tasks(i)
		return rereader{task.(*witness)}, err //nolint:forcetypeassert // as witnessHop makes it
	}
	tr := w.start(cfg, hop).waitUp()
	tr.waitIdle(20 * time.Second)
	deaf.Store(true)
	body, err := json.Marshal(AgainBody{Ranges: map[int32][][2]int64{0: {{10, 20}, {50, 60}}, 1: {{0, 100}}, 2: {{5000, 5010}}}})
	if err != nil {
		t.Fatal(err)
	}
	w.instruct(Instruction{ID: "again", Kind: KindRedrive, Topic: in, Hop: hop.Name, Body: body})
	<-time.After(againIdle + 2*time.Second)
	deaf.Store(false)
	w.produce(in, toyPartitions, 10, 20, "b")
	want := map[string]bool{}
	for p, ranges := range map[int32][][2]int64{0: {{10, 20}, {50, 60}}, 1: {{0, 100}}} {
		for _, r := range ranges {
			for n := r[0]; n < r[1]; n++ {
				want[fmt.Sprintf("again %s/%d@%d", in, p, n)] = true
			}
		}
	}
	read := func() map[string]int {
		got := map[string]int{}
		for _, r := range w.readAll(w.topic("counts")) {
			got[string(r.Key)]++
		}
		return got
	}
	w.wait("all is read again", 30*time.Second, func() bool { return len(read()) >= len(want) })
	tr.waitIdle(20 * time.Second)
	if err := tr.stop(); err != nil {
		t.Fatal(err)
	}
	for key, n := range read() {
		if !want[key] || n != 1 {
			t.Errorf("%s: read again %d times, wanted: %t", key, n, want[key])
		}
	}
}
