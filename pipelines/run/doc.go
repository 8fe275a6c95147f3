// Package run is the engine: it moves records through hops with exactly-once
// transactions and delivers canonical records to sinks. It is the only package
// of the pipelines that holds a Kafka client.
//
// A Hop is data: topics in, topics out, and a constructor of tasks. The same
// hops run on Kafka (Transform) and on plain queues in memory (Driver), so that
// what tests prove of a topology holds for the one that runs.
//
// # How a transaction runs
//
// One loop per hop: poll, run the operators into buffers, and only then begin,
// produce all, send the offsets, end. What an operator did stays in overlays
// (state.Table) and in records not yet sent until the broker has said
// 'committed'; anything else throws both away. Every transaction also writes,
// for every task in it, a self-check record to the changelog: the next input
// offset and the transaction's stamp. The same stamp is the metadata of the
// group's offset. So three things can be compared at any time: the group's
// offset, the changelog, and what a process believes it has done.
//
// # Why not kgo.GroupTransactSession
//
// The session would be one client for reading and writing, with its own idea
// of when to give up. Four things decided against it:
//
//   - It commits what was polled. A task that waits at a record, or stops at
//     one, must commit what precedes it, in the same transaction in which the
//     others commit all.
//   - It has no place for metadata on offsets. Without the stamp an unclear
//     answer to a transaction that moved no offset (deferred work) can never be
//     resolved, and two transactions of the same offsets look alike.
//   - It aborts after any revoke, even between polls. Here rebalances are blocked
//     from the poll until the transaction has ended, so there is nothing to
//     abort; the fence is the generation in the offset commit, as in Kafka
//     Streams. Stable offset fetches (KIP-447) hold a new owner back until the
//     transaction is decided.
//   - A failed producer can be replaced without leaving the group.
//
// What it does for safety is kept: offsets are sent with the member's id,
// instance and generation; an end whose outcome is unknown is never repeated as
// a commit; the producer takes its id over anew before the outcome is asked
// for, so that no delayed request can change it afterwards.
//
// # Who may touch what
//
// Tasks belong to the hop's loop. The group's callbacks (another goroutine)
// pause and list what is assigned, and drop what is revoked; they run only
// while the loop holds no transaction. Restores run beside the loop and hand
// over finished tables. The maps that these share are behind hop.mu.
package run
