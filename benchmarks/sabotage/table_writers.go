package main

// writers: what is written into the systems of others.
func writers() []sabotage {
	return []sabotage{
		{
			name: "doubt_does_not_wait_for_late_effects",
			what: "after a lost answer the look comes before what was sent has had its time",
			edits: []edit{{
				"sinks/progress.go",
				`due := p.since + profile.Limit + profile.Settle`,
				`due := p.since + profile.Limit`,
			}},
			pkg: "sinks/company", test: "TestERP",
		},
		{
			name: "unknown_outcome_is_not_executed",
			what: "an outcome that nobody knows is taken for none, and the request sent again",
			edits: []edit{{
				"sinks/progress.go",
				"\tdefault:\n\t\tif o.RetryAfter == 0 {",
				"\tdefault:\n\t\tp.Doubt = false\n\t\tif o.RetryAfter == 0 {",
			}},
			pkg: "sinks/company", test: "TestERP",
		},
		{
			name: "resend_is_rendered_anew",
			what: "what is sent again under a key is not what went before",
			edits: []edit{{
				"sinks/progress.go",
				`if do != DoResend || p.Request == nil {`,
				`if do != "" || p.Request == nil {`,
			}},
			pkg: "sinks/company", test: "TestERP",
		},
		{
			name: "failed_look_is_none",
			what: "a look that failed is taken for a record that is not there",
			edits: []edit{{
				"sinks/progress.go",
				"if err != nil {\n\t\tp.notBefore = now + min(",
				"if err != nil && found != nil {\n\t\tp.notBefore = now + min(",
			}},
			pkg: "sinks/company", test: "TestERP",
		},
		{
			name: "look_without_the_dead",
			what: "the writer does not ask for records that have ended",
			edits: []edit{{
				"sinks/company/find.go",
				`"ended": {"true"}, `,
				``,
			}},
			pkg: "sinks/company", test: "TestERP",
		},
		{
			name: "command_id_without_its_predecessor",
			what: "the successor of a dead record has the dead one's id",
			edits: []edit{{
				"sinks/id.go",
				`return w.id("create", predecessor)`,
				`return w.id("create", "")`,
			}},
			pkg: "sinks", test: "TestIDsStayWhatTheyAre",
		},
		{
			name: "call_without_a_last_question",
			what: "a call goes out although it is no longer permitted",
			edits: []edit{{
				"sinks/httpcall/client.go",
				`if err := w.permitted(); err != nil {`,
				`if err := w.permitted(); err != nil && w.Writer == nil {`,
			}},
			pkg: "sinks/httpcall", test: "TestNotSent",
		},
	}
}
