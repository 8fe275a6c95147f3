package pipelines

import (
	"encoding/json"
	"errors"
	"fmt"

	"syncline/pipelines/run"
)

// Instructions gives instructions their bytes: JSON, whose first byte is a brace.
type Instructions struct{}

// instruction is the stored form. Fields are only ever added.
type instruction struct {
	ID    string          `json:"id"`
	Kind  string          `json:"kind"`
	Hop   string          `json:"hop,omitempty"`
	Topic string          `json:"topic,omitempty"`
	At    map[int32]int64 `json:"at,omitempty"`
	Who   string          `json:"who,omitempty"`
	Why   string          `json:"why,omitempty"`
	Plan  string          `json:"plan,omitempty"`
	When  int64           `json:"when"` // milliseconds since 1970-01-01 UTC
	Body  []byte          `json:"body,omitempty"`
}

// EncodeInstruction implements [run.InstructionCodec].
func (Instructions) EncodeInstruction(i *run.Instruction) ([]byte, error) {
	return json.Marshal(instruction(*i))
}

// DecodeInstruction implements [run.InstructionCodec].
func (Instructions) DecodeInstruction(value []byte) (*run.Instruction, error) {
	var stored instruction
	if err := json.Unmarshal(value, &stored); err != nil {
		return nil, fmt.Errorf("reading an instruction: %w", err)
	}
	if stored.ID == "" || stored.Kind == "" {
		return nil, errors.New("reading an instruction: it lacks id or kind")
	}
	i := run.Instruction(stored)
	return &i, nil
}

// ByPipelines is who gives the instructions that the pipelines give themselves;
// people have an address (user@host).
const ByPipelines = "syncline"
