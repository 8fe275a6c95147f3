package projection

import (
	"fmt"
	"strings"

	"syncline/schemas/change"
)

type opcode uint8

const (
	opEnd opcode = iota
	opNothing

	// Steps over values that nobody wants.
	opSkipRun   // steps[arg:arg+n]
	opSkipWidth // n bytes
	opSkipEnum  // n symbols
	opSkipArray // arg is the item's block, n its width or variable
	opSkipMap   // the same for the map's values
	opCall      // arg is a block

	opUnion // table[arg:arg+n] are the branches' blocks

	// Values that go to output slot.
	opInt
	opLong
	opFloat
	opDouble
	opBool
	opBytes
	opString
	opFixed           // n bytes
	opEnum            // symbols[arg:arg+n]
	opVariableDecimal // n is 1 if the value comes before the scale
	opRecord
	opCopy  // of slot arg
	opNulls // slots[arg:arg+n]
)

// op is one instruction. If null is not never, the value is a branch of a
// union of two with null: the branch's index comes first, null is the index of
// the null branch as it is on the wire (0 or 2, being zigzag), and for it the
// output (if slot is one) becomes Null.
type op struct {
	code    opcode
	null    uint8
	meaning meaning
	kind    change.Kind // opInt, opLong: what comes out
	slot    int32
	arg     int32
	n       int32
}

const (
	never   = 255
	nothing = -1

	// maxOps bounds a plan. Shared record types reached through many union
	// branches on a wanted path could otherwise multiply.
	maxOps = 1 << 16
)

// A step is a byte of a run of steps over scalars, the bulk of every plan: what
// to step over, whether it is in a union with null, and if so, in the bit of
// stepNull, the index of null as it is on the wire.
type step = byte

const (
	stepOptional step = 1
	stepNull     step = 2

	stepInt   step = 0 << 2
	stepLong  step = 1 << 2
	stepBytes step = 2 << 2
	stepBool  step = 3 << 2
)

type block struct {
	ops       []op
	where     []string
	steps     []step
	stepWhere []string
}

// addStep adds s to the run of steps at the end of the block.
func (k *block) addStep(s step, null uint8, where string) {
	if null != never {
		s |= stepOptional | null
	}
	if last := len(k.ops) - 1; last >= 0 && k.ops[last].code == opSkipRun {
		k.ops[last].n++
	} else {
		k.add(op{code: opSkipRun, null: never, slot: nothing, arg: int32(len(k.steps)), n: 1}, where)
	}
	k.steps = append(k.steps, s)
	k.stepWhere = append(k.stepWhere, where)
}

func (k *block) add(o op, where string) {
	k.ops = append(k.ops, o)
	k.where = append(k.where, where)
}

// builder writes blocks of code that refer to each other by number, and links
// them into one list at the end.
type builder struct {
	plan   *Plan
	blocks []*block
	skips  map[*node]int32 // the block that steps over a record or union
	preset []int32         // outputs that some path through the code does not set
	count  int             // fields and values on wanted paths so far
}

func (b *builder) newBlock() (int32, *block) {
	k := &block{}
	b.blocks = append(b.blocks, k)
	return int32(len(b.blocks) - 1), k
}

func (b *builder) build(root *node, tree *wants) error {
	start, k := b.newBlock()
	var err error
	if nothingWanted := len(tree.slots)+len(tree.children) == 0; nothingWanted && root.kind == tRecord {
		err = b.wantRecord(k, root, tree, "") // not by a call: the root is at depth 1
	} else {
		err = b.want(k, root, tree, "")
	}
	if err != nil {
		return err
	}
	k.add(op{code: opEnd, null: never}, "")
	return b.link(start)
}

// link puts the blocks behind each other and turns their numbers into places.
func (b *builder) link(start int32) error {
	p := b.plan
	at := make([]int32, len(b.blocks))
	n, steps := 0, 0
	for i, k := range b.blocks {
		at[i] = int32(n)
		n += len(k.ops)
		steps += len(k.steps)
	}
	if n+steps > maxOps {
		return fmt.Errorf("%w: reading it takes %d steps, at most %d are allowed", ErrSchema, n+steps, maxOps)
	}
	p.ops = make([]op, 0, n)
	for _, k := range b.blocks {
		steps := int32(len(p.steps))
		p.steps = append(p.steps, k.steps...)
		p.stepWhere = append(p.stepWhere, k.stepWhere...)
		for _, o := range k.ops {
			switch o.code {
			case opSkipRun:
				o.arg += steps
			case opSkipArray, opSkipMap, opCall:
				if o.arg != nothing {
					o.arg = at[o.arg]
				}
			}
			p.ops = append(p.ops, o)
		}
		p.where = append(p.where, k.where...)
	}
	for i, id := range p.table {
		if id != nothing {
			p.table[i] = at[id]
		}
	}
	p.start = at[start]
	return nil
}

// optional returns the branch that is not null and the index of null as it is
// on the wire, if t is a union of just these two.
func optional(t *node) (*node, uint8, bool) {
	if t.kind != tUnion || len(t.branches) != 2 {
		return nil, never, false
	}
	switch {
	case t.branches[0].kind == tNull:
		return t.branches[1], 0, true
	case t.branches[1].kind == tNull:
		return t.branches[0], 2, true
	}
	return nil, never, false
}

// skip adds what steps over one value of t.
func (b *builder) skip(k *block, t *node, where string) {
	inner, null, ok := optional(t)
	if !ok {
		inner, null = t, never
	}
	switch inner.kind {
	case tBoolean:
		k.addStep(stepBool, null, where)
		return
	case tInt:
		k.addStep(stepInt, null, where)
		return
	case tLong:
		k.addStep(stepLong, null, where)
		return
	case tString, tBytes:
		k.addStep(stepBytes, null, where)
		return
	}
	o := b.skipOp(inner, where)
	o.null = null
	if o.code == opNothing && null == never {
		return
	}
	if last := len(k.ops) - 1; last >= 0 && fuse(&k.ops[last], o) {
		first, _, _ := strings.Cut(k.where[last], "…")
		k.where[last] = first + "…" + where
		return
	}
	k.add(o, where)
}

// fuse merges o into the step before it, if both step over bytes of a known
// number.
func fuse(last *op, o op) bool {
	if last.code != opSkipWidth || o.code != opSkipWidth || last.null != never || o.null != never ||
		int64(last.n)+int64(o.n) > maxRecordBytes {
		return false
	}
	last.n += o.n
	return true
}

// skipOp is what steps over a value of t, which is no scalar that is a step.
func (b *builder) skipOp(t *node, where string) op {
	o := op{null: never, slot: nothing, arg: nothing, n: 1}
	if t.width != variable {
		o.code, o.n = opSkipWidth, int32(min(t.width, maxRecordBytes+1))
		if t.width == 0 {
			o.code = opNothing
		}
		return o
	}
	switch t.kind {
	case tEnum:
		o.code, o.n = opSkipEnum, int32(len(t.symbols))
	case tArray, tMap:
		o.code, o.n = opSkipArray, int32(min(t.items.width, maxRecordBytes+1))
		if t.kind == tMap {
			o.code = opSkipMap
		}
		if t.items.width == variable {
			o.arg = b.skipBlock(t.items, where+"[]")
		}
	case tRecord:
		o.code, o.arg = opCall, b.skipBlock(t, where)
	case tUnion:
		blocks := make([]int32, len(t.branches))
		for i, branch := range t.branches {
			blocks[i] = nothing
			if branch.width != 0 {
				blocks[i] = b.skipBlock(branch, where)
			}
		}
		o = b.unionOp(blocks)
	}
	return o
}

func (b *builder) unionOp(blocks []int32) op {
	o := op{code: opUnion, null: never, slot: nothing, arg: int32(len(b.plan.table)), n: int32(len(blocks))}
	b.plan.table = append(b.plan.table, blocks...)
	return o
}

// skipBlock returns the block that steps over one value of t. A type that is
// used in many places, or inside itself, has one block.
func (b *builder) skipBlock(t *node, where string) int32 {
	if id, ok := b.skips[t]; ok {
		return id
	}
	id, k := b.newBlock()
	b.skips[t] = id
	if t.kind == tRecord {
		for i := range t.fields {
			b.skip(k, t.fields[i].typ, t.name+"."+t.fields[i].name)
		}
	} else {
		b.skip(k, t, where)
	}
	k.add(op{code: opEnd, null: never}, "")
	return id
}

// want adds what decodes one value of t, of which w is wanted.
func (b *builder) want(k *block, t *node, w *wants, where string) error {
	if len(w.slots) == 0 && len(w.children) == 0 {
		b.skip(k, t, where)
		return nil
	}
	if b.count++; b.count > maxOps {
		return fmt.Errorf("%w: %q: the paths to it through unions are too many", ErrWanted, w.path)
	}
	if err := refuse(t, w); err != nil {
		return err
	}
	switch t.kind {
	case tNull:
		b.nulls(k, w, where)
		return nil
	case tRecord:
		return b.wantRecord(k, t, w, where)
	case tUnion:
		return b.wantUnion(k, t, w, where)
	}
	if len(w.slots) > 0 {
		b.scalar(k, t, w.slots, never, where)
	}
	return nil // what is wanted below a scalar branch of a union is not there
}

// refuse says why w cannot be had from t.
func refuse(t *node, w *wants) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: %q: %s", ErrWanted, w.path, fmt.Sprintf(format, args...))
	}
	switch {
	case !t.finite:
		return fail("%v always holds another of itself, so no value of it has an end", t)
	case t.kind == tArray || t.kind == tMap:
		return fail("%v is not supported; ask for scalar fields", t)
	case t.misfit != "" && len(w.slots) > 0:
		return fail("%s", t.misfit)
	case t.meaning == variableDecimal && len(w.slots) > 0 && len(w.children) > 0:
		return fail("ask for the decimal or for its parts, not for both")
	case len(w.children) > 0 && !holdsRecord(t):
		return fail("it is %v, there is nothing below it; take the path without what follows", t)
	}
	return nil
}

func holdsRecord(t *node) bool {
	if t.kind == tRecord || t.kind == tNull {
		return true
	}
	for _, branch := range t.branches {
		if branch.kind == tRecord {
			return true
		}
	}
	return false
}

func (b *builder) nulls(k *block, w *wants, where string) {
	list := w.all()
	o := op{code: opNulls, null: never, slot: nothing, arg: int32(len(b.plan.slots)), n: int32(len(list))}
	b.plan.slots = append(b.plan.slots, list...)
	k.add(o, where)
}

func (b *builder) wantRecord(k *block, t *node, w *wants, where string) error {
	if t.meaning == variableDecimal && len(w.slots) > 0 {
		b.scalar(k, t, w.slots, never, where)
		return nil
	}
	for _, slot := range w.slots {
		k.add(op{code: opRecord, null: never, slot: slot}, where)
	}
	b.count += len(t.fields)
	for name, child := range w.children {
		if t.field(name) == nil {
			b.preset = append(b.preset, child.all()...)
		}
	}
	for i := range t.fields {
		f := &t.fields[i]
		child := w.children[f.name]
		if child == nil {
			b.skip(k, f.typ, join(where, f.name))
			continue
		}
		if err := b.want(k, f.typ, child, child.path); err != nil {
			return err
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (b *builder) wantUnion(k *block, t *node, w *wants, where string) error {
	if inner, null, ok := optional(t); ok && len(w.children) == 0 && (inner.kind != tRecord || inner.meaning == variableDecimal) {
		if err := refuse(inner, w); err != nil {
			return err
		}
		b.scalar(k, inner, w.slots, null, where)
		return nil
	}
	blocks := make([]int32, len(t.branches))
	for i, branch := range t.branches {
		if branch.kind != tNull && branch.kind != tRecord && len(w.slots) == 0 {
			// Only a record can hold what is wanted below this union.
			b.preset = append(b.preset, w.all()...)
			blocks[i] = b.skipBlock(branch, where)
			continue
		}
		id, bk := b.newBlock()
		if err := b.wantBranch(bk, branch, w, where); err != nil {
			return err
		}
		bk.add(op{code: opEnd, null: never}, "")
		blocks[i] = id
	}
	k.add(b.unionOp(blocks), where)
	return nil
}

// wantBranch is want for a branch of a union: a scalar branch gives the value
// itself, and nothing for what is wanted below it.
func (b *builder) wantBranch(k *block, branch *node, w *wants, where string) error {
	if branch.kind != tNull && branch.kind != tRecord && len(w.children) > 0 {
		b.preset = append(b.preset, w.all()...)
		w = &wants{path: w.path, slots: w.slots}
	}
	return b.want(k, branch, w, where)
}

// scalar adds what decodes a value of t into the first slot and copies it to
// the others.
func (b *builder) scalar(k *block, t *node, slots []int32, null uint8, where string) {
	o := op{null: null, meaning: t.meaning, kind: t.meaning.kindOf(), slot: slots[0], arg: nothing}
	switch t.kind {
	case tBoolean:
		o.code = opBool
	case tInt:
		o.code = opInt
	case tLong:
		o.code = opLong
	case tFloat:
		o.code = opFloat
	case tDouble:
		o.code = opDouble
	case tString:
		o.code = opString
	case tBytes:
		o.code = opBytes
	case tFixed:
		o.code, o.n = opFixed, int32(min(t.size, maxRecordBytes+1))
	case tEnum:
		o.code, o.arg, o.n = opEnum, int32(len(b.plan.symbols)), int32(len(t.symbols))
		b.plan.symbols = append(b.plan.symbols, t.symbols...)
	case tRecord: // a variable scale decimal
		if o.code = opVariableDecimal; t.fields[0].name == "value" {
			o.n = 1
		}
	}
	if t.meaning == decimal {
		o.arg = t.scale
	}
	k.add(o, where)
	for _, other := range slots[1:] {
		k.add(op{code: opCopy, null: never, slot: other, arg: slots[0]}, where)
	}
}
