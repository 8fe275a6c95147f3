package catalog

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"syncline/pipelines/plainfile"
)

// The bounds of a catalog file. The parser takes time that grows with the square
// of a mapping's keys, and memory with the square of the nesting; aliases can
// make a small file stand for a large one.
const (
	maxFile     = 1 << 20 // bytes
	maxTokens   = 40_000  // about ten times those of thirty tables
	maxDepth    = 32      // mappings and sequences in each other
	maxExpanded = 8 << 20 // weight of the file with every alias written out
	leafWeight  = 32
)

// Open reads and parses a catalog file, and refuses one that does not lint.
func Open(file string) (*Catalog, error) {
	text, err := plainfile.Read(file, maxFile)
	if err != nil {
		return nil, fmt.Errorf("opening the catalog: %w", err)
	}
	return Parse(file, text)
}

// Parse reads a catalog from its text; file is for messages. It returns Problems
// where the text is no catalog or does not lint.
func Parse(file string, text []byte) (*Catalog, error) {
	tree, err := parseTree(file, bytes.TrimPrefix(text, []byte("\ufeff")))
	if err != nil {
		return nil, err
	}
	c := &Catalog{file: file, tree: tree}
	if err := yaml.NewDecoder(bytes.NewReader(nil), yaml.Strict()).DecodeFromNode(tree.Docs[0].Body, c); err != nil {
		return nil, parseProblem(file, err)
	}
	if problems := c.Lint(); len(problems) > 0 {
		return nil, problems
	}
	return c, nil
}

func parseProblem(file string, err error) Problems {
	p := Problem{File: file, Line: 1, Column: 1, Message: err.Error(), Fix: "see `syncline catalog schema` for what a catalog may hold"}
	if syntax, ok := errors.AsType[yaml.Error](err); ok {
		p.Message = syntax.GetMessage()
		if t := syntax.GetToken(); t != nil && t.Position != nil {
			p.Line, p.Column = t.Position.Line, t.Position.Column
		}
	}
	return Problems{p}
}

// parseTree parses within bounds. The tree has exactly one document, which is
// not empty.
func parseTree(file string, text []byte) (*ast.File, error) {
	refuse := func(at *token.Position, message, fix string) error {
		p := Problem{File: file, Line: 1, Column: 1, Message: message, Fix: fix}
		if at != nil {
			p.Line, p.Column = at.Line, at.Column
		}
		return Problems{p}
	}
	if len(text) > maxFile {
		return nil, refuse(nil, fmt.Sprintf("the file is larger than %d bytes", maxFile), "is this a catalog?")
	}
	tokens := lexer.Tokenize(string(text))
	if len(tokens) > maxTokens {
		return nil, refuse(tokens[maxTokens].Position, fmt.Sprintf("more than %d words and signs", maxTokens), "map fewer tables in one catalog")
	}
	if at := tooDeep(tokens); at != nil {
		return nil, refuse(at, fmt.Sprintf("nested more than %d deep", maxDepth), "a catalog is at most 8 deep: is a bracket not closed?")
	}
	tree, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, parseProblem(file, err)
	}
	if len(tree.Docs) > 1 && tree.Docs[1].Body != nil {
		return nil, refuse(tree.Docs[1].Body.GetToken().Position, "a second document", "put a catalog into a file of its own")
	}
	if len(tree.Docs) == 0 || tree.Docs[0].Body == nil {
		return nil, refuse(nil, "the catalog is empty", "see `syncline catalog schema` for what a catalog holds")
	}
	w := weights{anchors: map[string]int{}}
	if w.of(tree.Docs[0].Body) > maxExpanded {
		return nil, refuse(w.at, fmt.Sprintf("with its aliases written out the file is larger than %d bytes", maxExpanded), "use fewer aliases, and none within anchors")
	}
	return tree, nil
}

// tooDeep returns the place at which the nesting passes maxDepth, nil if it
// does not. Block style nests by columns, flow style by brackets.
func tooDeep(tokens token.Tokens) *token.Position {
	var columns []int
	flow := 0
	for _, t := range tokens {
		at := t
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(flow-1, 0)
		case token.MappingValueType:
			if at = t.Prev; at == nil {
				continue
			}
			fallthrough
		case token.SequenceEntryType, token.MappingKeyType:
			if flow > 0 {
				break
			}
			for len(columns) > 0 && columns[len(columns)-1] >= at.Position.Column {
				columns = columns[:len(columns)-1]
			}
			columns = append(columns, at.Position.Column)
		}
		if flow+len(columns) > maxDepth {
			return t.Position
		}
	}
	return nil
}

// weights are what nodes cost when every alias is written out.
type weights struct {
	anchors map[string]int
	at      *token.Position // the alias with which the bound was passed
}

func (w *weights) of(n ast.Node) int {
	sum := leafWeight
	add := func(child ast.Node) {
		if child != nil && sum <= maxExpanded {
			sum += w.of(child)
		}
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			add(v)
		}
	case *ast.MappingValueNode:
		add(n.Key)
		add(n.Value)
	case *ast.MappingKeyNode:
		add(n.Value)
	case *ast.SequenceNode:
		for _, v := range n.Values {
			add(v)
		}
	case *ast.TagNode:
		add(n.Value)
	case *ast.AnchorNode:
		add(n.Value)
		w.anchors[n.Name.GetToken().Value] = sum
	case *ast.AliasNode:
		sum += w.anchors[n.Value.GetToken().Value]
		if sum > maxExpanded || w.at == nil {
			w.at = n.GetToken().Position
		}
	default:
		if t := n.GetToken(); t != nil {
			sum += len(t.Value)
		}
	}
	return min(sum, maxExpanded+1)
}
