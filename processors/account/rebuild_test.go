package account

import (
	"fmt"
	"testing"

	"syncline/processors/state"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

type published map[string]int64

func (p published) Record(topic Topic, rec canonical.Versioned, _ []byte) {
	h := rec.Head()
	p[fmt.Sprintf("%s %s deleted=%t", topic, h.NativeID, h.Deleted)] = h.Version
}

// What an earlier generation has published and this one has no document for is
// retired, in steps, once, and only when it is let go.
func TestSeedsWithoutDocumentsAreRetired(t *testing.T) {
	store := state.New()
	encoder, err := canonical.NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	put := func(key, value []byte, err error) {
		if err != nil {
			t.Fatal(err)
		}
		store.Put(key, value)
	}
	seeded := func(n int, deleted bool) (key, value []byte, err error) {
		id := fmt.Sprint("p", n)
		return Seed(TopicProduct, canonical.Blank("product", canonical.Envelope{
			EntityID: canonical.IDText(canonical.EntityID("erp", canonical.Product, id)), System: "erp", NativeID: id, Version: int64(n), Deleted: deleted,
		}), encoder)
	}
	for n := 1; n <= 5; n++ {
		put(seeded(n, n == 5))
	}
	key, value := Held()
	put(key, value, nil)
	store.Commit()

	o, err := New(&Config{Instances: map[string]string{"erp": "erp"}}, store)
	if err != nil {
		t.Fatal(err)
	}
	out := published{}
	if more, done, err := o.Advance(2, out); more || done || err != nil || len(out) != 0 {
		t.Fatalf("held, it does %v: %t %t %v", out, more, done, err)
	}
	if !o.Release() || o.Release() {
		t.Error("it is let go once")
	}
	store.Commit()
	steps, ended := 0, 0
	for more := true; more; steps++ {
		var done bool
		if _, _, err = o.Advance(2, published{}); err != nil { // thrown away: nothing of it counts
			t.Fatal(err)
		}
		store.Rollback()
		o.Reset()
		if more, done, err = o.Advance(2, out); err != nil {
			t.Fatal(err)
		}
		if done {
			ended++
		}
		store.Commit()
	}
	if steps < 3 || ended != 1 {
		t.Errorf("%d steps of two, ended %d times", steps, ended)
	}
	for n := 1; n <= 4; n++ {
		if got := out[fmt.Sprintf("product p%d deleted=true", n)]; got != int64(n)+1 {
			t.Errorf("p%d was retired with version %d, want %d", n, got, n+1)
		}
	}
	if len(out) != 4 {
		t.Errorf("published %v, want four deletions", out)
	}

	// One that comes back goes on from there, also after a restart.
	if o, err = New(&Config{Instances: map[string]string{"erp": "erp"}}, store); err != nil {
		t.Fatal(err)
	}
	id := canonical.EntityID("erp", canonical.Product, "p2")
	rec := canonical.Blank("product", canonical.Envelope{EntityID: canonical.IDText(id), System: "erp", NativeID: "p2"})
	if err := o.publish(newScope(0, id), TopicProduct, id, rec, out); err != nil {
		t.Fatal(err)
	}
	if got := out["product p2 deleted=false"]; got != 4 {
		t.Errorf("p2 came back with version %d, want 4", got)
	}
	if more, done, err := o.Advance(10, out); more || done || err != nil {
		t.Errorf("a rebuild that has ended goes on: %t %t %v", more, done, err)
	}
	if _, err := decodeSeed([]byte{1, 2}); err == nil {
		t.Error("half a seed passes")
	}
	var none change.ID
	if !newScope(0, id).account().IsZero() || !none.IsZero() {
		t.Error("an orphan has an account")
	}
}
