package clickhouse

import (
	"context"
	"strconv"
	"strings"
)

// Resume returns for each of the topic's partitions the offset after the last
// one that the table has settled. A partition of which there is no row is not
// in the result: it begins where the topic begins.
//
// The table is the only place where the sink's progress is kept, so a lost
// answer, a crash between two batches or a table that was restored cannot leave
// rows out. A merge may drop a batch's last row in favour of a newer version,
// which came with a later range of the same partition, so the result is never
// too great, and too small only as far as batches are written again.
func (w *Writer) Resume(ctx context.Context, topic string, partitions []int32) (map[int32]int64, error) {
	s, err := w.slot(topic)
	if err != nil {
		return nil, err
	}
	out := make(map[int32]int64, len(partitions))
	if len(partitions) == 0 {
		return out, nil
	}
	list := make([]string, len(partitions))
	for i, p := range partitions {
		list[i] = strconv.Itoa(int(p))
	}
	rows, err := w.conn.Query(ctx, "SELECT _partition, max(_last) + 1 FROM "+w.opts.Database+"."+s.name+
		" WHERE _topic = $1 AND _partition IN ("+strings.Join(list, ",")+") GROUP BY _partition", topic)
	if err != nil {
		return nil, w.fault("reading offsets of", s.name, "", err)
	}
	defer func() { _ = rows.Close() }() // Err below tells what matters
	for rows.Next() {
		var (
			partition int32
			next      int64
		)
		if err := rows.Scan(&partition, &next); err != nil {
			return nil, w.fault("reading offsets of", s.name, "", err)
		}
		out[partition] = next
	}
	if err := rows.Err(); err != nil {
		return nil, w.fault("reading offsets of", s.name, "", err)
	}
	return out, nil
}
