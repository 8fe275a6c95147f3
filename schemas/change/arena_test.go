package change

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is decoded into an arena stays as it is until the reset, however much
// more is decoded, and after it nothing of it shows.
func TestArenaKeepsDocumentsApart(t *testing.T) {
	stored := func(id string, children int) []byte {
		rows := [][]byte{AppendRow(nil, &Row{System: "erp", Doc: id, ID: id, Fields: []Value{OfString("h" + id), {}}})}
		for range children {
			rows = append(rows, AppendRow(nil, &Row{System: "erp", Doc: id, ID: "c" + id, Fields: []Value{OfInt(int64(len(rows)))}}))
		}
		return AppendDocument(nil, DocumentHead{System: "erp", ID: id}, rows)
	}
	var a Arena
	for round := range 3 {
		var got, want []Document
		for i, children := range []int{0, 3, 1, 40, 2, 5000 * (round % 2), 7} {
			b := stored(string(rune('a'+i+round)), children)
			d, err := a.Document(b)
			if err != nil {
				t.Fatal(err)
			}
			alone, err := DecodeDocument(b)
			if err != nil {
				t.Fatal(err)
			}
			got, want = append(got, d), append(want, alone)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("round %d (-want +got)\n%s", round, diff)
		}
		a.Reset()
	}
	small := stored("s", 2)
	n := testing.AllocsPerRun(100, func() {
		a.Reset()
		if _, err := a.Document(small); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for a document in a used arena", n)
	}
}
