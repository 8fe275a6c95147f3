package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"syncline/pipelines/run"
)

// act is something that an operator wants done by instructions: what, how far it
// reaches, and the instructions.
type act struct {
	command string // "letters redrive"
	again   string // the command line that shows the plan once more
	what    string
	reach   Table
	orders  []run.Instruction
}

// ActResult is the JSON result of a command that acts.
type ActResult struct {
	Plan         string   `json:"plan"` // hash of what is done: --apply takes it
	What         string   `json:"what"`
	Reach        Table    `json:"reach"`
	Applied      bool     `json:"applied"`
	Instructions []string `json:"instructions,omitempty"`
}

// consent is how somebody agrees to an act.
type consent struct{ apply, why string }

func (c *consent) add(flags *pflag.FlagSet) {
	flags.StringVar(&c.apply, "apply", "", "hash of the plan that was shown: carry it out without asking")
	flags.StringVar(&c.why, "why", "", "the reason, kept with the instruction")
}

// plan names what an act does: of the same instructions it is the same, whoever
// gives them and whenever.
func (x *act) plan() (string, error) {
	type part struct {
		Kind, Hop, Topic string
		At               map[int32]int64
		Body             []byte
	}
	parts := make([]part, len(x.orders))
	for n, i := range x.orders {
		parts[n] = part{i.Kind, i.Hop, i.Topic, i.At, i.Body}
	}
	b, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("naming the plan: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6]), nil
}

// carryOut shows an act and its reach, and gives its instructions if somebody
// agrees. Otherwise nothing is changed.
func (a *app) carryOut(ctx context.Context, x *act, c consent) error {
	plan, err := x.plan()
	if err != nil {
		return err
	}
	result := ActResult{Plan: plan, What: x.what, Reach: x.reach}
	if agreed, err := a.agree(x.command, x.again, x.what, plan, c.apply, result, x.reach); !agreed {
		return err
	}
	for _, i := range x.orders {
		i.Who, i.Why, i.Plan = whoever(), c.why, plan
		given, err := run.Instruct(ctx, a.engine(), i)
		if err != nil {
			a.partial = result
			return environment("instruction.failed", "is the broker up? see `syncline doctor`; what was given before stands, see `syncline instructions list`", "%w", err)
		}
		result.Instructions = append(result.Instructions, given.ID)
	}
	result.Applied = true
	return a.answer(x.command, x.what+"\nThe running pipelines do it; `syncline instructions list` tells what was given", result)
}

// nothingToDo answers where an act reaches nothing. Whoever comes with a plan's
// hash hears that it is another one by now.
func (a *app) nothingToDo(command, said string, reach Table, c consent) error {
	if c.apply != "" {
		return input(strings.ReplaceAll(command, " ", ".")+".plan_changed", "nothing need be done; it may have been done already: syncline instructions list", "%s", said)
	}
	return a.answer(command, said, ActResult{What: "nothing", Reach: reach})
}
