package oracle

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// position orders the history of one row: streamed after snapshot at the same
// log position, then by place in the transaction.
type position struct {
	lsn      int64
	streamed int64
	order    int64
}

func (p position) compare(o position) int {
	return cmp.Or(cmp.Compare(p.lsn, o.lsn), cmp.Compare(p.streamed, o.streamed), cmp.Compare(p.order, o.order))
}

// image is one state of a row.
type image struct {
	at       position
	unplaced bool // a snapshot has read it without a position
	snapshot bool
	created  bool // op c
	deleted  bool
	closing  bool           // the last row of the table in a full snapshot
	commit   int64          // microseconds; of a snapshot row, when it was read
	row      map[string]any // decoded columns; nil where deleted
}

// life is a row from its creation to now, oldest image first, each position
// once. Placeholders are replaced by what was there before.
type life []image

func (l life) last() image { return l[len(l)-1] }

// feedCounts is what a consumer counts of one topic.
type feedCounts struct {
	received, repeated, stale int64
	transactions              bool
}

// folded is a whole recording folded: for each "system.table" the living rows
// by id and all images of every row, and the counts of each topic.
type folded struct {
	tables   map[string]map[string]life
	images   map[string]map[string][]image // ended lives too, oldest first
	meanings map[string]map[string]string
	feeds    map[string]*feedCounts
}

// foldRecording reads every change of a recording. It sorts each row's images
// by position instead of following arrival, so that it cannot share a mistake
// about order with a consumer that does. Of a feed that was loaded again every
// image is there again: only the counts change.
func foldRecording(dir string, loads int) (*folded, error) {
	schemas, err := readSchemas(dir)
	if err != nil {
		return nil, err
	}
	dec := newDecoder(schemas)
	out := &folded{tables: map[string]map[string]life{}, meanings: map[string]map[string]string{}, feeds: map[string]*feedCounts{}}
	images := map[string]map[string][]image{}
	out.images = images
	emptied := map[string][]image{}  // TRUNCATEs, by table
	closed := map[string]position{}  // the last full snapshot that has ended, by table
	highest := map[string]position{} // what a consumer's stored position is, for the counts
	take := func(r record) error {
		feed := out.feeds[r.Topic]
		if feed == nil {
			feed = &feedCounts{transactions: strings.HasSuffix(r.Topic, ".transaction")}
			out.feeds[r.Topic] = feed
		}
		feed.received++
		if r.Value == nil || feed.transactions {
			return nil
		}
		table, err := tableOf(r.Topic)
		if err != nil {
			return err
		}
		envelope, err := dec.decode(r.Topic+"-value", r.Value)
		if err != nil || envelope["op"] == "m" {
			return err
		}
		img, err := imageOf(envelope)
		if err != nil {
			return err
		}
		if envelope["op"] == "t" { // has no key
			emptied[table] = append(emptied[table], img)
			return nil
		}
		if img.closing && img.at.compare(closed[table]) > 0 {
			closed[table] = img.at
		}
		key, err := dec.decode(r.Topic+"-key", r.Key)
		if err != nil {
			return err
		}
		id, err := idText(key)
		if err != nil {
			return err
		}
		if out.meanings[table] == nil {
			if out.meanings[table], err = dec.meaning(r.Topic + "-value"); err != nil {
				return err
			}
		}
		row := table + "/" + id
		if stored, seen := highest[row]; !seen || img.at.compare(stored) > 0 {
			highest[row] = img.at
		} else if img.at == stored {
			feed.repeated++
		} else {
			feed.stale++
		}
		if images[table] == nil {
			images[table] = map[string][]image{}
		}
		images[table][id] = append(images[table][id], img)
		return nil
	}
	for range loads {
		if err := readChanges(dir, take); err != nil {
			return nil, err
		}
	}
	for table, rows := range images {
		for id, history := range rows {
			rows[id] = byPosition(append(history, emptied[table]...))
		}
		out.tables[table] = living(rows, closed[table])
	}
	return out, nil
}

// living gives the rows of a table that are there. What the last full snapshot
// that has ended does not have, and nobody has changed since, is gone; unless
// that is so much that a person must say so.
func living(rows map[string][]image, snapshot position) map[string]life {
	all, missing := map[string]life{}, []string{}
	for id, history := range rows {
		if l := currentLife(history); len(l) > 0 {
			all[id] = l
			if l.last().at.compare(snapshot) < 0 && !l.last().unplaced {
				missing = append(missing, id)
			}
		}
	}
	if few := len(missing) <= 3 || 20*len(missing) <= len(all); few {
		for _, id := range missing {
			delete(all, id)
		}
	}
	return all
}

// byPosition sorts a row's images and keeps one of each position; but a delete
// and what stands in its place at the same position are two. Images without a
// position come behind all that is not later than they were read.
func byPosition(history []image) []image {
	var placed, reads []image
	for _, img := range history {
		if img.unplaced {
			reads = append(reads, img)
		} else {
			placed = append(placed, img)
		}
	}
	slices.SortStableFunc(placed, func(a, b image) int {
		return cmp.Or(a.at.compare(b.at), cmp.Compare(truth(b.deleted), truth(a.deleted)))
	})
	placed = slices.CompactFunc(placed, func(a, b image) bool { return a.at == b.at && a.deleted == b.deleted })
	slices.SortStableFunc(reads, func(a, b image) int { return cmp.Compare(a.commit, b.commit) })
	reads = slices.CompactFunc(reads, func(a, b image) bool { return a.commit == b.commit })
	for _, img := range reads {
		behind := len(placed)
		for behind > 0 && placed[behind-1].commit > img.commit {
			behind--
		}
		placed = slices.Insert(placed, behind, img)
	}
	return placed
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// currentLife returns the images after the row's last delete. A delete that
// shares its commit with the creation of the row over a living one is not this
// row's: keys were exchanged.
func currentLife(history []image) life {
	start, lives, exchanged := 0, false, int64(0)
	for i, img := range history {
		switch {
		case img.deleted && exchanged != 0 && img.commit == exchanged:
			exchanged = 0
		case img.deleted:
			start, lives, exchanged = i+1, false, 0
		case img.created && lives:
			exchanged = img.commit
		case img.commit != exchanged:
			exchanged = 0
		}
		lives = lives || !img.deleted
	}
	out := life(slices.DeleteFunc(slices.Clone(history[start:]), func(img image) bool { return img.deleted }))
	for i, img := range out {
		row := maps.Clone(img.row)
		for column, value := range row {
			if value == unavailable {
				row[column] = nil
				if i > 0 {
					row[column] = out[i-1].row[column]
				}
			}
		}
		out[i].row = row
	}
	return out
}

// tableOf turns "cdc.crm.public.sale_sale" into "crm.sale_sale".
func tableOf(topic string) (string, error) {
	rest, ok := strings.CutPrefix(topic, "cdc.")
	system, table, found := strings.Cut(rest, ".public.")
	if !ok || !found {
		return "", fmt.Errorf("topic %q is not of the form cdc.<system>.public.<table>", topic)
	}
	return system + "." + table, nil
}

func idText(key map[string]any) (string, error) {
	switch id := key["id"].(type) {
	case int32:
		return strconv.FormatInt(int64(id), 10), nil
	case int64:
		return strconv.FormatInt(id, 10), nil
	default:
		return "", fmt.Errorf("key has no integer field id, but %T", key["id"])
	}
}

func imageOf(envelope map[string]any) (image, error) {
	source, ok := envelope["source"].(map[string]any)
	if !ok {
		return image{}, fmt.Errorf("change without source block")
	}
	var img image
	lsn, placed := source["lsn"].(int64)
	op, _ := envelope["op"].(string)
	img.at.lsn, img.unplaced = lsn, !placed
	if us, ok := source["ts_us"].(int64); ok {
		img.commit = us
	} else if ms, ok := source["ts_ms"].(int64); ok {
		img.commit = ms * 1000
	} else {
		return image{}, fmt.Errorf("change without commit time")
	}
	switch op {
	case "r":
		img.snapshot = true
		img.closing = source["snapshot"] == "last" || source["snapshot"] == "last_in_data_collection"
	case "c", "u", "d", "t":
		if img.unplaced {
			return image{}, fmt.Errorf("change without source.lsn")
		}
		img.created = op == "c"
		img.at.streamed = 1
		if block, ok := envelope["transaction"].(map[string]any); ok {
			img.at.order, _ = block["total_order"].(int64)
		}
	default:
		return image{}, fmt.Errorf("change of unknown op %q", op)
	}
	if img.deleted = op == "d" || op == "t"; img.deleted {
		return img, nil
	}
	if img.row, ok = envelope["after"].(map[string]any); !ok {
		return image{}, fmt.Errorf("change %q without after", op)
	}
	return img, nil
}

// text returns the normal text of a column of an image: numbers without
// trailing zeros; "" and false where NULL.
func (f *folded) text(table string, img image, column string) (string, bool, error) {
	meaning := f.meanings[table][column]
	s, err := pgText(meaning, img.row[column])
	if err != nil {
		return "", false, fmt.Errorf("%s.%s: %w", table, column, err)
	}
	if s == nil {
		return "", false, nil
	}
	if strings.HasSuffix(meaning, "VariableScaleDecimal") {
		n, err := DecimalText(*s)
		return n, true, err
	}
	return *s, true, nil
}

// checkFinal compares the fold with the databases' final rows and returns every
// difference. There must be none: otherwise the recording itself, or our
// reading of it, is wrong and nothing made of it can be trusted.
func (f *folded) checkFinal(final finalRows) []Difference {
	var diffs []Difference
	for table := range f.tables {
		if _, ok := final[table]; !ok {
			diffs = append(diffs, Difference{View: table, Kind: Unexpected, Got: "a table that the final rows do not have"})
		}
	}
	for table, rows := range final {
		seen := map[string]bool{}
		for _, want := range rows {
			if want["id"] == nil {
				diffs = append(diffs, Difference{View: table, Kind: Missing, Want: "a row with an id"})
				continue
			}
			id := *want["id"]
			seen[id] = true
			l := f.tables[table][id]
			if len(l) == 0 {
				diffs = append(diffs, Difference{View: table, Key: id, Kind: Missing})
				continue
			}
			for column, text := range want {
				got, ok, err := f.text(table, l.last(), column)
				if err != nil {
					got, ok = err.Error(), true
				}
				w := ""
				if text != nil {
					w = *text
					if strings.HasSuffix(f.meanings[table][column], "VariableScaleDecimal") {
						if n, err := DecimalText(w); err == nil {
							w = n
						}
					}
				}
				if ok != (text != nil) || got != w {
					diffs = append(diffs, Difference{View: table, Key: id, Column: column, Kind: Cell, Want: orNull(w, text != nil), Got: orNull(got, ok)})
				}
			}
			for column := range l.last().row {
				if _, ok := want[column]; !ok && f.meanings[table][column] != "bytes" {
					diffs = append(diffs, Difference{View: table, Key: id, Column: column, Kind: Unexpected})
				}
			}
		}
		for id := range f.tables[table] {
			if !seen[id] {
				diffs = append(diffs, Difference{View: table, Key: id, Kind: Unexpected})
			}
		}
	}
	sortDifferences(diffs)
	return diffs
}

// micros returns a MicroTimestamp column.
func (img image) micros(column string) (int64, bool) {
	v, ok := img.row[column].(int64)
	return v, ok
}

// moment is a time and whether it comes from a snapshot row's columns. Zero is
// no time.
type moment struct {
	micros      int64
	approximate bool
}

func (m moment) isZero() bool { return m.micros == 0 }

// text returns the normal form, "" where there is no time.
func (m moment) text() string {
	if m.isZero() {
		return ""
	}
	return time.UnixMicro(m.micros).UTC().Format(timeForm)
}

// when is the time of an image: of a streamed change its commit, of a snapshot
// row the first of the columns that is not NULL.
func (img image) when(columns ...string) moment {
	if !img.snapshot {
		return moment{micros: img.commit}
	}
	for _, c := range columns {
		if t, ok := img.micros(c); ok {
			return moment{micros: t, approximate: true}
		}
	}
	return moment{}
}

// committed is the commit time of the row's current image.
func (l life) committed() moment { return l.last().when("write_date", "create_date") }

// created is the commit time of the first image of the life.
func (l life) created() moment { return l[0].when("create_date") }

// earliest returns the smaller of two moments; the exact one of two equal.
func earliest(a, b moment) moment {
	switch {
	case a.isZero():
		return b
	case b.isZero():
		return a
	case b.micros < a.micros || b.micros == a.micros && a.approximate && !b.approximate:
		return b
	default:
		return a
	}
}
