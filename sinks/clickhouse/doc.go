// Package clickhouse writes the canonical topics, letters and feeds into
// ClickHouse, each record's effect exactly once, and lays down the tables and
// views that people read.
//
// Three belts hold, each where the one before may not:
//
//   - Every row carries the version that the account task gave it, and the
//     tables keep the greatest version of each key. So a batch that arrives
//     twice, late, or cut at other offsets by an old member after a rebalance
//     changes nothing that a view shows.
//   - Every insert is one block with a token made of its offset ranges and its
//     content. A batch sent again because the reply was lost adds no rows as
//     long as the server remembers the token.
//   - Every row carries the range of offsets it came with. [Writer.Resume] reads
//     from them where to go on, so what is in the table and where the sink goes
//     on cannot disagree.
//
// Raw tables must not feed incremental materialised views: those would see a
// batch that is sent again after the token was forgotten.
package clickhouse
