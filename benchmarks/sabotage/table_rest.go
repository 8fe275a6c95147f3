package main

// delivery: from the topics into ClickHouse.
func delivery() []sabotage {
	const afterWrite = "if flying != nil {\n\t\t\tselect {\n\t\t\tcase <-flying:\n\t\t\tcase <-ctx.Done():\n\t\t\t\treturn nil, ctx.Err()\n\t\t\t}\n\t\t}"
	return []sabotage{
		{
			name: "partition_leaves_during_a_write",
			what: "a sink gives a partition away while it writes it, and does not wait",
			edits: []edit{{
				"pipelines/run/deliver.go",
				`flying = append(flying, l.inFlight.done)`,
				`_ = l.inFlight.done`,
			}},
			pkg: "pipelines/run", test: "TestDeliverWaitsForItsWriteWhenAPartitionGoes",
		},
		{
			name: "partition_comes_back_during_a_write",
			what: "a sink asks the target where it ends while its own write is under way",
			edits: []edit{{
				"pipelines/run/deliver.go",
				afterWrite,
				`_ = flying`,
			}},
			pkg: "pipelines/run", test: "TestDeliverWaitsForItsWriteWhenAPartitionComesBack",
		},
		{
			name: "target_not_asked",
			what: "a sink goes on where the group's offset says, not where the target ends",
			edits: []edit{{
				"pipelines/run/deliver.go",
				`parts[p] = kgo.NewOffset().AtStart()`,
				`_ = kgo.NewOffset().AtStart()`,
			}},
			pkg: "pipelines/run", test: "TestDeliverResumesWhereTheTargetEnds",
		},
		{
			name: "range_without_markers",
			what: "the range of a batch ends at its last record, and not where it has read to",
			edits: []edit{{
				"pipelines/run/delivery.go",
				`Last: part.next - 1,`,
				`Last: part.records[len(part.records)-1].Offset,`,
			}},
			pkg: "pipelines/run", test: "TestDeliverRangesCoverMarkers",
		},
		{
			name: "permanent_error_repeated",
			what: "an insert that can never succeed is repeated for ever, in silence",
			edits: []edit{{
				"pipelines/run/delivery.go",
				`if errors.Is(err, ErrPermanent) {`,
				`if errors.Is(err, ErrPermanent) && ctx.Err() != nil {`,
			}},
			pkg: "pipelines/run", test: "TestDeliverStopsATopicOnAPermanentError",
		},
		{
			name: "no_insert_token",
			what: "an insert has no name by which its repetition is known",
			edits: []edit{{
				"sinks/clickhouse/writer.go",
				`"insert_deduplication_token": p.token(topic, s.ins.statement(w.opts.Database)),`,
				``,
			}},
			pkg: "sinks/clickhouse", test: "TestInsertsCarryWhatMakesThemOnce",
		},
		{
			name: "token_of_the_moment",
			what: "an insert has another name each time that it is repeated, so that nothing keeps it from being stored twice",
			edits: []edit{{
				"sinks/clickhouse/writer.go",
				`p.token(topic, s.ins.statement(w.opts.Database)),`,
				`fmt.Sprintf("%p", &p),`,
			}},
			pkg: "sinks/clickhouse", test: "TestSameBatchTwice",
		},
		{
			name: "async_insert",
			what: "the server collects inserts and cuts them anew",
			edits: []edit{
				{"sinks/clickhouse/writer.go", `"async_insert":               0,`, `"async_insert": 1,`},
				{"sinks/clickhouse/options.go", `"async_insert": 0,`, `"async_insert": 1,`},
			},
			pkg: "sinks/clickhouse", test: "TestInsertsCarryWhatMakesThemOnce",
		},
		{
			name: "token_without_content",
			what: "a topic that was made anew has the same names of inserts as before, and loses its first rows",
			edits: []edit{{
				"sinks/clickhouse/piece.go",
				`_, _ = h.Write(r.Value)`,
				`_ = r.Value`,
			}},
			pkg: "sinks/clickhouse", test: "TestSameRangeOtherContent",
		},
	}
}

// operators: what the hops make of the changes.
func operators() []sabotage {
	return []sabotage{
		{
			name: "intake_takes_old_images",
			what: "an image below the stored position is taken",
			edits: []edit{{
				"processors/intake/intake.go",
				`order < 0 || order == 0 &&`,
				`order < -1 || order == 0 &&`,
			}},
			pkg: "pipelines", test: "TestStories/below_the_snapshot",
		},
		{
			name: "document_takes_old_images",
			what: "the second hop does not compare positions",
			edits: []edit{{
				"processors/document/document.go",
				`row.Pos.Compare(old.Pos) < 0`,
				`row.Pos.Compare(old.Pos) < -1`,
			}},
			pkg: "processors/document", test: "TestOlderImageOfAnotherTaskIsDropped",
		},
		{
			name: "foreign_key_taken",
			what: "a record whose key names another row is taken, and gives the row a second history",
			edits: []edit{{
				"processors/intake/intake.go",
				`at.Key != "" && at.Key != h.id`,
				`at.Key == "-" && at.Key != h.id`,
			}},
			pkg: "pipelines", test: "TestStories/bad_records",
		},
		{
			name: "counters_not_reset",
			what: "intake keeps its counters when a transaction is thrown away, and counts twice",
			edits: []edit{{
				"processors/intake/intake.go",
				`k.count = decodeCounters(k.store.Get(countersKey))
	k.dirty = false`,
				`k.dirty = false`,
			}},
			pkg: "processors/intake", test: "TestThrownAwayChangesAreNotCounted",
		},
		{
			name: "equal_images_published",
			what: "a record goes out although nothing of it has changed",
			edits: []edit{{
				"processors/account/publish.go",
				`if last.version > 0 && next.hash == last.hash {`,
				`if last.version < 0 && next.hash == last.hash {`,
			}},
			pkg: "processors/account", test: "TestOnlyChangesArePublishedAndVersionsRise",
		},
		{
			name: "versions_begin_anew",
			what: "every record of an entity has the same version",
			edits: []edit{{
				"processors/account/publish.go",
				`version: last.version + 1,`,
				`version: 1,`,
			}},
			pkg: "processors/account", test: "TestOnlyChangesArePublishedAndVersionsRise",
		},
		{
			name: "state_shares_bytes",
			what: "restored state lies in the bytes that it was read from",
			edits: []edit{{
				"processors/state/table.go",
				`value = bytes.Clone(value)`,
				`value = bytes.TrimLeft(value, "")`,
			}},
			pkg: "processors/state", test: "TestRestoreCopies",
		},
		{
			name: "swap_without_hold",
			what: "a table that is filled anew is exchanged while the sink writes into the old one",
			edits: []edit{{
				"sinks/clickhouse/refill.go",
				`" CHECK 0")`,
				`" CHECK 1")`,
			}},
			pkg: "sinks/clickhouse", test: "TestRefill",
		},
		{
			name: "lost_table_not_asked",
			what: "the sink goes on where it was in a table that was dropped and made anew",
			edits: []edit{{
				"pipelines/run/deliver_lost.go",
				`offsets[p] = kgo.EpochOffset{Epoch: -1, Offset: answer.holds[id].start}`,
				`offsets[p] = kgo.EpochOffset{Epoch: -1, Offset: answer.holds[id].end}`,
			}},
			pkg: "pipelines/run", test: "TestDeliverBeginsAnewWhereTheTargetWasLost",
		},
	}
}
