package cli

import (
	"fmt"
	"testing"

	"syncline/pipelines"
	"syncline/pipelines/run"
)

// Which letters are meant, in SQL whose values are arguments.
func TestWhichLetters(t *testing.T) {
	for _, c := range []struct {
		choice choice
		sql    string
		args   string
	}{
		{choice{state: "all"}, "1", "[]"},
		{choice{state: "open", which: "0f3a9c2b41d7"}, "state = $1 AND fingerprint = $2", "[open 0f3a9c2b41d7]"},
		{choice{state: "open", topic: "cdc.a"}, "state = $1 AND topic = $2", "[open cdc.a]"},
		{choice{state: "all", which: "cdc.a/3/70"}, "topic = $1 AND partition = 3 AND offset = 70", "[cdc.a]"},
		{choice{state: "all", topic: "a' OR 1"}, "topic = $1", "[a' OR 1]"},
	} {
		if sql, args, err := c.choice.where(); err != nil || sql != c.sql || fmt.Sprint(args) != c.args {
			t.Errorf("%+v: %s %v, %v", c.choice, sql, args, err)
		}
	}
	for _, which := range []string{"nonsense", "cdc.a/3", "cdc.a/3/x", "cdc.a'/3/7", "0F3A9C2B41D7", "cdc.a/-1/7"} {
		if _, _, err := (&choice{state: "open", which: which}).where(); err == nil {
			t.Errorf("%s is taken", which)
		}
	}
	if (&choice{state: "closed"}).check() == nil {
		t.Error("a state that is none is taken")
	}
}

// An act's plan names what is done, and not who asks or when.
func TestPlanOfAnAct(t *testing.T) {
	i := readAgain(t, 7)
	first := planOf(t, i)
	i.Who, i.When, i.ID = "ada", 5, "i1"
	if again := planOf(t, i); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	if other := planOf(t, readAgain(t, 8)); other == first {
		t.Error("two acts have one plan")
	}
}

func readAgain(t *testing.T, end int64) run.Instruction {
	t.Helper()
	i, err := pipelines.Replay("cdc.a", map[int32][2]int64{0: {5, end}})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func planOf(t *testing.T, i run.Instruction) string {
	t.Helper()
	plan, err := (&act{orders: []run.Instruction{i}}).plan()
	if err != nil {
		t.Fatal(err)
	}
	return plan
}
