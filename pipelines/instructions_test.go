package pipelines

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"syncline/pipelines/run"
)

func TestInstructionsKeepTheirForm(t *testing.T) {
	want := &run.Instruction{
		ID: "i1", Kind: "sweep", Hop: Intake, Topic: "cdc.a", At: map[int32]int64{0: 5, 3: 7},
		Who: "ada", Why: "new snapshot", Plan: "abc", When: 1764028800000, Body: []byte{0, 1, 0xff},
	}
	// As the topic has it for ever.
	const stored = `{"id":"i1","kind":"sweep","hop":"intake","topic":"cdc.a","at":{"0":5,"3":7},"who":"ada","why":"new snapshot","plan":"abc","when":1764028800000,"body":"AAH/"}`
	b, err := Instructions{}.EncodeInstruction(want)
	if err != nil || string(b) != stored {
		t.Errorf("%s, %v", b, err)
	}
	got, err := Instructions{}.DecodeInstruction([]byte(stored))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, bad := range []string{"", "{", `{"kind":"skip"}`, `{"id":"x"}`, `[]`} {
		if _, err := (Instructions{}).DecodeInstruction([]byte(bad)); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}
