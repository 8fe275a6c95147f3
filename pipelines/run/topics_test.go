package run

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A broker whose metadata lags calls an existing topic unknown; its count must
// be checked all the same.
func TestTopicHiddenByLaggingMetadataIsChecked(t *testing.T) {
	w, c := newFake(t)
	name := w.create("counts", toyPartitions+1)
	fault := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: name, Err: kerr.UnknownTopicOrPartition, Count: 3})
	err := ensureTopics(t.Context(), w.admin, w.config().withDefaults(), []Topic{{Name: name, Partitions: toyPartitions, Cleanup: Queue}})
	if err == nil || !strings.Contains(err.Error(), "has 5 partitions, the topology says 4") {
		t.Errorf("ensureTopics: %v", err)
	}
	if fault.Hits() == 0 {
		t.Error("the topic was never hidden, so the test shows nothing")
	}
}
