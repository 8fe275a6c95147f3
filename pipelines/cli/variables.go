package cli

import (
	"os"
	"reflect"
	"slices"
	"strings"
)

// envPrefix begins the environment variables of settings.
const envPrefix = "SYNCLINE_"

// otherVariables are read beside the settings: by developers, and by tests.
var otherVariables = []string{"SYNCLINE_CPU_PROFILE", "SYNCLINE_KAFKA", "SYNCLINE_KAFKA_BROKERS", "SYNCLINE_LONG", "SYNCLINE_RAW_EMPTY"}

const testPrefix = "SYNCLINE_TEST_"

// strayVariables are the variables of the environment that look like settings
// and are none, each with the name that was most likely meant, or "".
func strayVariables() map[string]string {
	known := slices.Clone(otherVariables)
	for i := range reflect.TypeFor[Settings]().NumField() {
		known = append(known, envPrefix+strings.ToUpper(reflect.TypeFor[Settings]().Field(i).Tag.Get("koanf")))
	}
	stray := map[string]string{}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, testPrefix) || slices.Contains(known, name) {
			continue
		}
		best, least := "", 4 // letters that may differ
		for _, k := range known {
			if d := distance(name, k); d < least {
				best, least = k, d
			}
		}
		stray[name] = best
	}
	return stray
}

// distance is the number of letters to add, drop or change.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func strayFix(meant string) string {
	if meant == "" {
		return "remove it; `syncline help run` lists the settings"
	}
	return "did you mean " + meant + "?"
}
