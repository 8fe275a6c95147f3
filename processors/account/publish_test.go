package account

import (
	"slices"
	"testing"

	"syncline/processors/state"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// versions takes the versions that go out.
type versions struct{ out []int64 }

func (v *versions) Record(_ Topic, rec canonical.Versioned, _ []byte) {
	v.out = append(v.out, rec.Head().Version)
}

// A record goes out only where its image has changed, and each under a higher
// version than the one before.
func TestOnlyChangesArePublishedAndVersionsRise(t *testing.T) {
	o, err := New(&Config{}, state.New())
	if err != nil {
		t.Fatal(err)
	}
	var s scope
	id, out := change.ID{1}, &versions{}
	for _, number := range []string{"a", "a", "b", "b", "a"} {
		rec := &canonical.OrderRecord{Envelope: envelope(s, id, "crm", "7"), Number: &number}
		if err := o.publish(s, TopicOrder, id, rec, out); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int64{1, 2, 3}; !slices.Equal(out.out, want) {
		t.Errorf("versions %v, want %v", out.out, want)
	}
	if err := o.retire(s, TopicOrder, id, "crm", "7", out); err != nil {
		t.Fatal(err)
	}
	if err := o.retire(s, TopicOrder, id, "crm", "7", out); err != nil {
		t.Fatal(err)
	}
	if want := []int64{1, 2, 3, 4}; !slices.Equal(out.out, want) {
		t.Errorf("versions %v after it was retired twice, want %v", out.out, want)
	}
}
