package company

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"syncline/benchmarks/oracle"
	"syncline/benchmarks/workload"
)

// TruthFile is the name of the truth in a folder that WriteFolder writes.
const TruthFile = "truth.jsonl.gz"

// maxTruthLine bounds a row's line.
const maxTruthLine = 4 << 20

// WriteFolder makes all records and writes them, with their schemas, in the form
// that workload.Open reads, and the truth beside them. It calls progress after
// every 10,000 records, if set.
func (g *Generator) WriteFolder(ctx context.Context, dir string, progress func(records int64)) (err error) {
	schemas := g.Schemas()
	for i := range schemas {
		schemas[i].ID = g.ids[i]
	}
	w, err := workload.NewRecordingWriter(dir, schemas, true)
	if err != nil {
		return err
	}
	for {
		r, ok := g.Next()
		if !ok {
			break
		}
		err := w.Write(r)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return errors.Join(err, w.Close())
		}
		if progress != nil && g.records%10_000 == 0 {
			progress(g.records)
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if progress != nil {
		progress(g.records)
	}
	if g.config.NoTruth || g.err != nil {
		return g.err
	}
	truth, err := g.Truth()
	if err != nil {
		return err
	}
	return writeTruthFile(filepath.Join(dir, TruthFile), truth)
}

func writeTruthFile(path string, truth oracle.Expected) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("making file for the truth: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z := gzip.NewWriter(f)
	if err := WriteTruth(z, truth); err != nil {
		return err
	}
	return z.Close()
}

// truthLine is a row of a view; a view without rows has a line without row.
type truthLine struct {
	View string     `json:"view"`
	Row  oracle.Row `json:"row,omitempty"`
}

// WriteTruth writes the rows of all views as JSON lines, views in the order of
// their names.
func WriteTruth(to io.Writer, truth oracle.Expected) error {
	w := bufio.NewWriterSize(to, 256<<10)
	enc := json.NewEncoder(w)
	for _, view := range slices.Sorted(maps.Keys(truth)) {
		rows := truth[view]
		if len(rows) == 0 {
			rows = []oracle.Row{nil}
		}
		for _, r := range rows {
			if err := enc.Encode(truthLine{view, r}); err != nil {
				return fmt.Errorf("writing truth of %s: %w", view, err)
			}
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing truth: %w", err)
	}
	return nil
}

// ReadTruth reads what WriteTruth has written; errors name the line.
func ReadTruth(from io.Reader) (oracle.Expected, error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 64<<10), maxTruthLine)
	out := oracle.Expected{}
	n := 0
	for lines.Scan() {
		n++
		var l truthLine
		dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&l); err != nil {
			return nil, fmt.Errorf("truth, line %d: %w", n, err)
		}
		if _, ok := oracle.ViewNamed(l.View); !ok {
			return nil, fmt.Errorf("truth, line %d: no view %q", n, l.View)
		}
		if out[l.View] == nil {
			out[l.View] = []oracle.Row{}
		}
		if l.Row != nil {
			out[l.View] = append(out[l.View], l.Row)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("truth, line %d: %w", n+1, err)
	}
	if n == 0 {
		return nil, errors.New("truth: the file is empty")
	}
	return out, nil
}

// ReadTruthFile reads the truth of a folder.
func ReadTruthFile(dir string) (out oracle.Expected, err error) {
	f, err := os.Open(filepath.Join(dir, TruthFile))
	if err != nil {
		return nil, fmt.Errorf("opening truth: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	return ReadTruth(z)
}
