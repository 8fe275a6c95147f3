package cli

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// Each setting that may be given to `run` is taken by `up`, by handing it to the
// pipelines' process, or refused; given as a flag or in the environment.
func TestUpTakesOrRefusesEachSetting(t *testing.T) {
	types := reflect.TypeFor[Settings]()
	for i := range types.NumField() {
		key := types.Field(i).Tag.Get("koanf")
		value := map[string]string{"registry_url": "http://127.0.0.1:7"}[key]
		switch reflect.Zero(types.Field(i).Type).Interface().(type) {
		case int:
			value = "2048"
			if slices.Contains([]string{"partitions", "slot", "replication", "letter_percent"}, key) {
				value = "3"
			}
		case time.Duration:
			value = "700ms"
		default:
			if value == "" {
				value = "given-" + key
			}
		}
		flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
		addSettings(flags)
		name := strings.ReplaceAll(key, "_", "-")
		inEnvironment := "SYNCLINE_" + strings.ToUpper(key)
		for _, how := range []string{"flag", "environment"} {
			t.Run(key+" by "+how, func(t *testing.T) {
				if how == "environment" {
					t.Setenv(inEnvironment, value)
				} else if flags.Lookup(name) == nil {
					t.Skip("a secret has no flag")
				} else if err := flags.Set(name, value); err != nil {
					t.Fatal(err)
				}
				flags := flags
				if how == "environment" {
					flags = pflag.NewFlagSet("run", pflag.ContinueOnError)
					addSettings(flags)
				}
				s, given, err := loadSettings(flags, "")
				if err != nil {
					t.Fatal(err)
				}
				if !given[key] {
					t.Errorf("%s was given and is not known to be", key)
				}
				a := app{settings: s, given: given}
				err = a.refuseForUp()
				if _, refused := refusedForUp[key]; refused {
					if err == nil || !strings.Contains(err.Error(), key) {
						t.Errorf("not refused: %v", err)
					}
					return
				}
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				if want := inEnvironment + "=" + value; !slices.Contains(s.environ(), want) {
					t.Errorf("the pipelines' process would not get %s", want)
				}
			})
		}
	}
	for key := range refusedForUp {
		if !slices.ContainsFunc(reflect.VisibleFields(types), func(f reflect.StructField) bool { return f.Tag.Get("koanf") == key }) {
			t.Errorf("%s is refused and no setting", key)
		}
	}
}

// Secrets go to the child process in its environment, and are masked wherever
// settings are printed.
func TestSecretsAreMasked(t *testing.T) {
	s := defaults()
	s.ClickHousePassword, s.RegistryPassword = "hush-1", "hush-2"
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v", s, s, s)} {
		if strings.Contains(shown, "hush") {
			t.Errorf("shown: %s", shown)
		}
	}
}
