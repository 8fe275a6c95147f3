package pipelines

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"syncline/pipelines/run"
)

func TestGenerationInInstructions(t *testing.T) {
	of := func(kind, n string) run.Instruction {
		return run.Instruction{ID: kind + n, Kind: kind, Body: []byte(n)}
	}
	seeded := of(kindSeeded, "2")
	seeded.At = map[int32]int64{0: 7}
	for name, c := range map[string]struct {
		all  []run.Instruction
		want Generation
	}{
		"none":   {nil, Generation{Number: 1, Seeded: true, Released: true, Finished: true}},
		"others": {[]run.Instruction{of(run.KindSkip, ""), of("sweep", "9")}, Generation{Number: 1, Seeded: true, Released: true, Finished: true}},
		"begun":  {[]run.Instruction{of(run.KindRebuild, "2")}, Generation{Number: 2, Begun: "rebuild2"}},
		"under way, begun twice": {
			[]run.Instruction{of(run.KindRebuild, "2"), of(run.KindRebuild, "2"), seeded, of(kindRelease, "2"), of(kindDone, "2"), of(kindDone, "1")},
			Generation{Number: 2, Begun: "rebuild2", Seeded: true, Letters: map[int32]int64{0: 7}, Released: true, Done: 1},
		},
		"finished": {
			[]run.Instruction{of(run.KindRebuild, "2"), seeded, of(kindRelease, "2"), of(kindFinished, "2")},
			Generation{Number: 2, Begun: "rebuild2", Seeded: true, Letters: map[int32]int64{0: 7}, Released: true, Finished: true},
		},
		"forgotten in its middle": {
			[]run.Instruction{of(run.KindRebuild, "2"), seeded, Generation{Number: 2}.Forgotten("test")},
			Generation{Number: 2, Seeded: true, Released: true, Finished: true},
		},
		"the next": {[]run.Instruction{of(run.KindRebuild, "2"), seeded, of(kindFinished, "2"), of(run.KindRebuild, "3")}, Generation{Number: 3, Begun: "rebuild3"}},
	} {
		if diff := cmp.Diff(c.want, GenerationIn(c.all)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestNamesOfAGeneration(t *testing.T) {
	first, second := DefaultNames().Of(1), DefaultNames().Of(2)
	if first.Rows != DefaultNames().Rows || first.Work() != DefaultPrefix || first.Changelog(Intake) != "syncline.intake.changelog" {
		t.Errorf("the first generation keeps its names: %+v", first)
	}
	if second.Rows != "syncline.g2.rows" || second.Accounts != "syncline.g2.accounts" || second.Changelog(HopAccount) != "syncline.g2.account.changelog" || second.Work() != "syncline.g2" {
		t.Errorf("the second has its own: %+v, %s", second, second.Work())
	}
	if second.Letters != first.Letters || second.Feeds != first.Feeds || second.Canonical != first.Canonical || second.Instructions != first.Instructions {
		t.Errorf("what is published stays where it is: %+v", second)
	}
	for _, topic := range []string{second.Rows, second.Changelog(HopParty), DefaultNames().Of(12).Documents} {
		if !DefaultNames().Owns(topic) {
			t.Errorf("%s is not said to be ours", topic)
		}
	}
}
