package chfront

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Revisions of the Native format at which its framing changes.
const (
	revisionBlockInfo           = 1
	revisionCustomSerialization = 54454
)

// maxRowsInBlock stops a broken stream from asking for endless work.
const maxRowsInBlock = 1_000_000_000

// reframe copies Native blocks written at revision 0 (what the library writes)
// to the given client revision. Values are the same in both; what differs is
// the block info in front of a block and one flag per column. The values are
// walked, not decoded: only their length is needed.
//
// Format: https://clickhouse.com/docs/native-protocol/server#data and the
// engine's NativeWriter.
func reframe(w *bufio.Writer, r *bufio.Reader, revision uint64) error {
	c := copier{r: r, w: w}
	for {
		if _, err := r.Peek(1); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := c.block(revision); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
}

// writeHeaderBlock writes a block without rows at a client revision.
func writeHeaderBlock(w *bufio.Writer, names, types []string, revision uint64) error {
	raw := binary.AppendUvarint(nil, uint64(len(names)))
	raw = append(raw, 0)
	for i, name := range names {
		raw = append(binary.AppendUvarint(raw, uint64(len(name))), name...)
		raw = append(binary.AppendUvarint(raw, uint64(len(types[i]))), types[i]...)
	}
	return reframe(w, bufio.NewReader(bytes.NewReader(raw)), revision)
}

type copier struct {
	r *bufio.Reader
	w *bufio.Writer
}

func (c *copier) block(revision uint64) error {
	if revision >= revisionBlockInfo {
		// Field 1: not an overflow row; field 2: bucket -1; 0 ends the list.
		if _, err := c.w.Write([]byte{1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0}); err != nil {
			return err
		}
	}
	columns, err := c.uvarint()
	if err != nil {
		return err
	}
	rows, err := c.uvarint()
	if err != nil {
		return err
	}
	if rows > maxRowsInBlock {
		return fmt.Errorf("native block of %d rows: more than %d is not a block", rows, maxRowsInBlock)
	}
	for range columns {
		name, err := c.text()
		if err != nil {
			return err
		}
		typeName, err := c.text()
		if err != nil {
			return err
		}
		t, err := parseType(typeName)
		if err != nil {
			return exception(codeUnknownType, "Column %s: %v; cast it in the query, for example with toString", name, err)
		}
		if revision >= revisionCustomSerialization {
			if err := c.w.WriteByte(0); err != nil {
				return err
			}
		}
		if rows == 0 {
			continue
		}
		if err := c.prefix(t); err != nil {
			return err
		}
		if err := c.column(t, rows); err != nil {
			return fmt.Errorf("copying column %s %s: %w", name, typeName, err)
		}
	}
	return nil
}

func (c *copier) uvarint() (uint64, error) {
	n, err := binary.ReadUvarint(c.r)
	if err != nil {
		return 0, err
	}
	var raw [binary.MaxVarintLen64]byte
	_, err = c.w.Write(raw[:binary.PutUvarint(raw[:], n)])
	return n, err
}

func (c *copier) text() (string, error) {
	n, err := c.uvarint()
	if err != nil {
		return "", err
	}
	if n > 1<<20 {
		return "", fmt.Errorf("native name of %d bytes", n)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(c.r, raw); err != nil {
		return "", err
	}
	_, err = c.w.Write(raw)
	return string(raw), err
}

// bytes copies n bytes through the reader's own buffer.
func (c *copier) bytes(n uint64) error {
	for n > 0 {
		if c.r.Buffered() == 0 {
			if _, err := c.r.Peek(1); err != nil {
				return err
			}
		}
		part, _ := c.r.Peek(int(min(n, uint64(c.r.Buffered()))))
		if _, err := c.w.Write(part); err != nil {
			return err
		}
		n -= uint64(len(part))
		if _, err := c.r.Discard(len(part)); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) fixed64() (uint64, error) {
	raw, err := c.r.Peek(8)
	if err != nil {
		return 0, err
	}
	n := binary.LittleEndian.Uint64(raw)
	if _, err := c.w.Write(raw); err != nil {
		return 0, err
	}
	_, err = c.r.Discard(8)
	return n, err
}

// offsets copies n cumulative sizes and returns the last: the number of
// elements that follow.
func (c *copier) offsets(n uint64) (last uint64, err error) {
	for range n {
		if last, err = c.fixed64(); err != nil {
			return 0, err
		}
	}
	if last > maxRowsInBlock {
		return 0, fmt.Errorf("native array of %d elements", last)
	}
	return last, nil
}

// prefix copies what comes once before a column's values: a version for each
// dictionary in it.
func (c *copier) prefix(t *typeNode) error {
	if t.kind == kindLowCardinality {
		_, err := c.fixed64()
		return err
	}
	for _, child := range t.children {
		if err := c.prefix(child); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) column(t *typeNode, rows uint64) error {
	switch t.kind {
	case kindFixed:
		return c.bytes(rows * t.size)
	case kindString:
		for range rows {
			n, err := c.uvarint()
			if err != nil {
				return err
			}
			if err := c.bytes(n); err != nil {
				return err
			}
		}
		return nil
	case kindNullable:
		if err := c.bytes(rows); err != nil {
			return err
		}
		return c.column(t.children[0], rows)
	case kindArray:
		elements, err := c.offsets(rows)
		if err != nil {
			return err
		}
		return c.column(t.children[0], elements)
	case kindTuple:
		if len(t.children) == 0 {
			return c.bytes(rows) // an empty tuple has one byte a row
		}
		for _, child := range t.children {
			if err := c.column(child, rows); err != nil {
				return err
			}
		}
		return nil
	case kindLowCardinality:
		if rows == 0 {
			return nil
		}
		return c.lowCardinality(t)
	}
	return fmt.Errorf("type kind %d", t.kind)
}

// lowCardinality copies one dictionary and the indexes into it. The keys of a
// nullable dictionary are plain: index 0 means NULL.
func (c *copier) lowCardinality(t *typeNode) error {
	const globalDictionary, additionalKeys = 1 << 8, 1 << 9
	flags, err := c.fixed64()
	if err != nil {
		return err
	}
	if flags&globalDictionary != 0 || flags&additionalKeys == 0 {
		return fmt.Errorf("low cardinality column with flags %#x", flags)
	}
	keys, err := c.fixed64()
	if err != nil {
		return err
	}
	inner := t.children[0]
	if inner.kind == kindNullable {
		inner = inner.children[0]
	}
	if keys > maxRowsInBlock {
		return fmt.Errorf("dictionary of %d keys", keys)
	}
	if err := c.column(inner, keys); err != nil {
		return err
	}
	rows, err := c.fixed64()
	if err != nil {
		return err
	}
	if rows > maxRowsInBlock || flags&0xff > 3 {
		return fmt.Errorf("dictionary with %d rows and flags %#x", rows, flags)
	}
	return c.bytes(rows << (flags & 0xff))
}

type typeKind int

const (
	kindFixed typeKind = iota
	kindString
	kindNullable
	kindArray
	kindTuple
	kindLowCardinality
)

// typeNode is as much of a type as its length needs.
type typeNode struct {
	kind     typeKind
	size     uint64
	children []*typeNode
}

var fixedSizes = map[string]uint64{
	"Int8": 1, "UInt8": 1, "Bool": 1, "Enum8": 1, "Nothing": 1, "Int16": 2, "UInt16": 2, "Date": 2, "Enum16": 2, "BFloat16": 2,
	"Int32": 4, "UInt32": 4, "Float32": 4, "Date32": 4, "DateTime": 4, "IPv4": 4, "Time": 4,
	"Int64": 8, "UInt64": 8, "Float64": 8, "DateTime64": 8, "Time64": 8,
	"Int128": 16, "UInt128": 16, "UUID": 16, "IPv6": 16, "Int256": 32, "UInt256": 32,
}

const maxTypeDepth = 32

func parseType(name string) (*typeNode, error) { return parseTypeAt(name, 0) }

func parseTypeAt(name string, depth int) (*typeNode, error) {
	if depth > maxTypeDepth {
		return nil, fmt.Errorf("type nested deeper than %d", maxTypeDepth)
	}
	name = strings.TrimSpace(name)
	base, inner, nested := strings.Cut(name, "(")
	if nested {
		if !strings.HasSuffix(inner, ")") {
			return nil, fmt.Errorf("type %q does not end", name)
		}
		inner = inner[:len(inner)-1]
	}
	if size, ok := fixedSizes[base]; ok {
		return &typeNode{kind: kindFixed, size: size}, nil
	}
	if strings.HasPrefix(base, "Interval") {
		return &typeNode{kind: kindFixed, size: 8}, nil
	}
	child := func(kind typeKind) (*typeNode, error) {
		t, err := parseTypeAt(inner, depth+1)
		if err != nil {
			return nil, err
		}
		return &typeNode{kind: kind, children: []*typeNode{t}}, nil
	}
	switch base {
	case "String":
		return &typeNode{kind: kindString}, nil
	case "FixedString":
		n, err := strconv.ParseUint(inner, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("type %q: %w", name, err)
		}
		return &typeNode{kind: kindFixed, size: n}, nil
	case "Decimal":
		precision, _, _ := strings.Cut(inner, ",")
		p, err := strconv.Atoi(strings.TrimSpace(precision))
		if err != nil {
			return nil, fmt.Errorf("type %q: %w", name, err)
		}
		return &typeNode{kind: kindFixed, size: decimalSize(p)}, nil
	case "Nullable":
		return child(kindNullable)
	case "Array":
		return child(kindArray)
	case "LowCardinality":
		return child(kindLowCardinality)
	case "SimpleAggregateFunction":
		_, stored := cutTop(inner)
		return parseTypeAt(stored, depth+1)
	case "Tuple", "Nested", "Map":
		return composite(base, inner, depth)
	}
	if expanded, ok := geometry[base]; ok {
		return parseTypeAt(expanded, depth+1)
	}
	return nil, fmt.Errorf("type %s does not pass through the embedded ClickHouse in Native", name)
}

var geometry = map[string]string{
	"Point": "Tuple(Float64, Float64)", "Ring": "Array(Point)", "LineString": "Array(Point)", "MultiLineString": "Array(LineString)",
	"Polygon": "Array(Ring)", "MultiPolygon": "Array(Polygon)",
}

func decimalSize(precision int) uint64 {
	switch {
	case precision <= 9:
		return 4
	case precision <= 18:
		return 8
	case precision <= 38:
		return 16
	}
	return 32
}

// composite parses what is a tuple inside: Tuple, Map (an array of pairs) and
// Nested (an array of tuples).
func composite(base, inner string, depth int) (*typeNode, error) {
	tuple := &typeNode{kind: kindTuple}
	for rest := inner; strings.TrimSpace(rest) != ""; {
		var part string
		part, rest = cutTop(rest)
		t, err := parseTypeAt(elementType(part), depth+1)
		if err != nil {
			return nil, err
		}
		tuple.children = append(tuple.children, t)
	}
	if base == "Tuple" {
		return tuple, nil
	}
	return &typeNode{kind: kindArray, children: []*typeNode{tuple}}, nil
}

// elementType drops the name in front of a tuple element's type.
func elementType(part string) string {
	part = strings.TrimSpace(part)
	if strings.HasPrefix(part, "`") || strings.HasPrefix(part, `"`) {
		return part[quoteEnd(part, 0):]
	}
	for i := range len(part) {
		if part[i] == ' ' {
			return part[i+1:]
		}
		if !isWord(part[i]) && part[i] != '.' {
			break
		}
	}
	return part
}

// cutTop cuts at the first comma outside of parentheses and quotes.
func cutTop(list string) (first, rest string) {
	depth := 0
	for i := 0; i < len(list); i++ {
		switch list[i] {
		case '\'', '`', '"':
			i = quoteEnd(list, i) - 1
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				return list[:i], list[i+1:]
			}
		}
	}
	return list, ""
}
