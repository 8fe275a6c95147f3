package main

import "slices"

// table lists all sabotages. Where a guarantee has two belts, a sabotage takes
// off both, or its test looks below the second one.
func table() []sabotage { return slices.Concat(engine(), delivery(), operators(), writers()) }

// engine: transactions, restores, and who may act.
func engine() []sabotage {
	return []sabotage{
		{
			name: "purge_what_is_not_committed",
			what: "an internal queue is emptied to its end, records that its reader has not committed included",
			edits: []edit{{
				"pipelines/run/topics.go",
				`next := t.stats.committed.Load()`,
				`next := max(t.stats.committed.Load(), t.stats.end.Load())`,
			}},
			pkg: "pipelines/run", test: "TestPurgeLeavesWhatIsNotCommitted",
		},
		{
			name: "no_tombstones_in_changelogs",
			what: "what an operator deletes is left in its changelog",
			edits: []edit{{
				"pipelines/run/task.go",
				`k := make([]byte, 0, len(t.prefix)+len(key))`,
				"if value == nil {\n\t\t\treturn\n\t\t}\n\t\tk := make([]byte, 0, len(t.prefix)+len(key))",
			}},
			pkg: "pipelines/run", test: "TestDeletedStateStaysDeletedAfterARestart",
		},
		{
			name: "operator_not_reset",
			what: "an operator is not told that its transaction was thrown away",
			edits: []edit{{
				"pipelines/run/task.go",
				"t.obedience.rollback()\n\tt.impl.Reset()",
				"t.obedience.rollback()",
			}},
			pkg: "pipelines/run", test: "TestOperatorForgetsWithTheTransaction",
		},
		{
			name: "state_not_rolled_back",
			what: "the state keeps what a transaction that was thrown away has written",
			edits: []edit{{
				"pipelines/run/task.go",
				"t.table.Rollback()\n\tt.obedience.rollback()",
				"t.table.Commit()\n\tt.obedience.rollback()",
			}},
			pkg: "pipelines/run", test: "TestRefusedEndRollsBackAndTriesAgain/EndTxn",
		},
		{
			name: "input_not_rewound",
			what: "the input goes on behind a transaction that was thrown away",
			edits: []edit{{
				"pipelines/run/transaction.go",
				`h.rewind(t.id, t.base)`,
				`_ = t.base`,
			}},
			pkg: "pipelines/run", test: "TestRefusedEndRollsBackAndTriesAgain/EndTxn",
		},
		{
			name: "alive_never_asked",
			what: "a process does not ask whether its place was taken before it fences who has it",
			edits: []edit{{
				"pipelines/run/transaction.go",
				`h.producer.settle(ctx, cause, h.alive)`,
				`h.producer.settle(ctx, cause, func(context.Context) error { return nil })`,
			}},
			pkg: "pipelines/run", test: "TestOustedProcessLeavesItsSuccessorAlone",
		},
		{
			name: "outcome_not_asked",
			what: "a commit whose answer is wrong counts as aborted, without asking the broker",
			edits: []edit{{
				"pipelines/run/transaction.go",
				`o.At == t.next && o.Metadata == t.stamp(stamp)`,
				`o.At == t.next && o.Metadata == t.stamp(stamp) && false`,
			}},
			pkg: "pipelines/run", test: "TestCommitWhoseReplyIsWrongIsFoundOut",
		},
		{
			name: "settled_without_a_fence",
			what: "a transaction counts as over although its end may still be under way",
			edits: []edit{{
				"pipelines/run/producer.go",
				`if err = p.fence(ctx); err == nil {`,
				`if err = nil; err == nil {`,
			}},
			pkg: "pipelines/run", test: "TestSettleInsistsOnTheFence",
		},
		{
			name: "gate_open",
			what: "a producer that has lost its broker goes on without asking what became of its last transaction",
			edits: []edit{{
				"pipelines/run/producer.go",
				`kgo.WithHooks(&gate{decide: func() { _ = p.insist(life) }}),`,
				`kgo.WithHooks(&gate{decide: func() {}}),`,
			}},
			pkg: "pipelines/run", test: "TestProducerAsksBeforeItGoesOn",
		},
		{
			name: "transaction_version_unchecked",
			what: "a cluster in which a delayed request can end a later transaction is taken",
			edits: []edit{{
				"pipelines/run/transform.go",
				`if version < 2 {`,
				`if version < 0 {`,
			}},
			pkg: "pipelines/run", test: "TestOldTransactionsAreRefused",
		},
		{
			name: "marker_by_guess",
			what: "a lost marker is written as a commit, whatever was decided",
			edits: []edit{{
				"pipelines/run/markers.go",
				`w.write(ctx, l, d.commit)`,
				`w.write(ctx, l, true)`,
			}},
			pkg: "pipelines/run", test: "TestLostMarkersAreWritten",
		},
		{
			name: "restore_from_unstable_offsets",
			what: "a restore takes the group's offsets while a transaction with newer ones is open",
			edits: []edit{{
				"pipelines/run/restore.go",
				`kadm.RequireStable(ctx)`,
				`ctx`,
			}},
			pkg: "pipelines/run", test: "TestRestoreWaitsForOffsetsUnderWay",
		},
		{
			name: "restore_of_what_was_aborted",
			what: "a restore takes over state of transactions that were thrown away",
			edits: []edit{{
				"pipelines/run/restore.go",
				`kgo.FetchIsolationLevel(kgo.ReadCommitted())`,
				`kgo.FetchIsolationLevel(kgo.ReadUncommitted())`,
			}},
			pkg: "pipelines/run", test: "TestAnotherSlotTakesOverFromTheDead",
		},
		{
			name: "self_check_not_compared",
			what: "state and offsets of two different transactions are taken for one",
			edits: []edit{{
				"pipelines/run/selfcheck.go",
				`group.next >= 0 && group != restored`,
				`group.next < 0 && group != restored && false`,
			}},
			pkg: "pipelines/run", test: "TestSelfCheckMismatchStopsLoudly",
		},
		{
			name: "input_read_uncommitted",
			what: "a hop reads what the one before it has thrown away",
			edits: []edit{{
				"pipelines/run/config.go",
				`kgo.FetchIsolationLevel(kgo.ReadCommitted())`,
				`kgo.FetchIsolationLevel(kgo.ReadUncommitted())`,
			}},
			pkg: "pipelines/run", test: "TestMuchThatWasAbortedStaysHidden",
		},
		{
			name: "letter_without_place",
			what: "a record that cannot be taken is passed by without a letter",
			edits: []edit{{
				"pipelines/run/letters.go",
				`t.out.Emit(topic, partitionKey, key, value)`,
				`_, _, _, _ = topic, partitionKey, key, value`,
			}},
			pkg: "pipelines/run", test: "TestLetterIsPartOfTheTransaction",
		},
		{
			name: "fenced_offsets_accepted",
			what: "offsets are committed without saying which generation of the group commits them",
			edits: []edit{{
				"pipelines/run/producer.go",
				"req.Generation, req.MemberID = m.generation, m.id\n\treq.InstanceID = &m.instance",
				`req.Generation = -1`,
			}},
			pkg: "pipelines/run", test: "TestOffsetsOfAnOustedMemberAreRefused",
		},
	}
}
