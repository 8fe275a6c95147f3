package oracle

import (
	"maps"
	"strings"
	"testing"
)

func TestTruthFilesAgree(t *testing.T) {
	for _, c := range []struct {
		recording       string
		deals, won      int
		discounted      bool
		excepted        []string
		leastTimesKnown int
	}{
		{recording: "debezium-tryton", deals: 62, won: 54, leastTimesKnown: 250},
		{recording: "debezium-tryton-2", deals: 42, won: 36, discounted: true, leastTimesKnown: 150, excepted: []string{
			"opportunity 156: erp party 164 is linked to nobody",
			"opportunity 173: the payment of invoice 149 was undone",
			"opportunity 175: invoice 153 lost a line",
			"opportunity 176: subs party 159 is linked to nobody",
			"opportunity 178: deleted and made again",
		}},
	} {
		t.Run(c.recording, func(t *testing.T) {
			got, err := CheckTruthFiles(recordingDir(c.recording), expectRecorded(t, c.recording))
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d deals, %d won, %d discounted, %d invoices, %d paid; %d times", got.Deals, got.Won, got.Discounted, got.Invoices, got.Payments, got.Times)
			for _, d := range got.Differences {
				t.Error(d)
			}
			if got.Deals != c.deals || got.Won != c.won || (got.Discounted > 0) != c.discounted || got.Times < c.leastTimesKnown {
				t.Errorf("compared %+v", got)
			}
			if len(got.Excepted) != len(c.excepted) {
				t.Errorf("%d exceptions, want %d", len(got.Excepted), len(c.excepted))
			}
			for _, want := range c.excepted {
				if !strings.Contains(strings.Join(got.Excepted, "\n"), want) {
					t.Errorf("%q is no exception; these are:\n%s", want, strings.Join(got.Excepted, "\n"))
				}
			}
		})
	}
}

// TestTruthFilesDisagree spoils what the truth files know and wants it noticed.
func TestTruthFilesDisagree(t *testing.T) {
	fold, err := foldRecording(recordingDir("debezium-tryton"), 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(e Expected){
		"stage":        func(e Expected) { deal(e, "24")["stage"] = "won" },
		"order number": func(e Expected) { deal(e, "24")["order_number"] = "7" },
		"a time":       func(e Expected) { deal(e, "24")["won_at"] = "2026-11-22T21:32:33.000000Z" },
		"no time":      func(e Expected) { delete(deal(e, "24"), "won_at") },
		"a time more":  func(e Expected) { deal(e, "24")["lost_at"] = deal(e, "24")["won_at"] },
		"no deal": func(e Expected) {
			maps.DeleteFunc(deal(e, "24"), func(k, _ string) bool { return k == "opportunity_native_id" })
		},
		"account": func(e Expected) { deal(e, "24")["account_id"] = deal(e, "25")["account_id"] },
		"amount": func(e Expected) {
			for _, r := range e["invoices"] {
				r["gross"] = "0"
			}
		},
		"paid": func(e Expected) {
			for _, r := range e["invoices"] {
				r["paid"] = "0.01"
			}
		},
		"name": func(e Expected) {
			for _, r := range e["accounts"] {
				r["name"] = strings.TrimSuffix(r["name"], " (renamed)")
			}
		},
		"link": func(e Expected) {
			for _, r := range e["identity_links"] {
				r["account_id"] = "00000000-0000-5000-8000-000000000000"
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := clone(expectRecorded(t, "debezium-tryton"))
			spoil(e)
			got, err := checkTruthFiles(recordingDir("debezium-tryton"), fold, e)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Differences) == 0 {
				t.Error("nothing was noticed")
			}
		})
	}
}

func deal(e Expected, opportunity string) Row {
	for _, r := range e["deals"] {
		if r["opportunity_native_id"] == opportunity {
			return r
		}
	}
	return nil
}
