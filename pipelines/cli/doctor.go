package cli

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"syncline/pipelines"
	"syncline/pipelines/run"
)

// Finding is one line of doctor's report.
type Finding struct {
	Check   string `json:"check"`
	OK      bool   `json:"ok"`
	Warning bool   `json:"warning,omitempty"` // worth knowing, no reason to stop
	Found   string `json:"found"`
	Fix     string `json:"fix,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", GroupID: "start", Short: "What is missing, and how to mend it", Args: cobra.NoArgs,
		Long: `Looks, and changes nothing: addresses and versions, transaction.version of the
cluster, the broker setting that decides how fast transactions are, topics and
their partitions, transactions that hang, the registry, ClickHouse, disk space,
the catalog. Each finding comes with its fix. Exit code 3 if something must be
mended first.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.followPlatform(); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 30*time.Second)
			defer cancel()
			return a.doctor(ctx)
		},
	}
}

func (a *app) doctor(ctx context.Context) error {
	findings := a.checkCatalog()
	findings = append(findings, a.checkKafka(ctx)...)
	findings = append(findings, a.checkRegistry(ctx), a.checkClickHouse(ctx), a.checkDisk())
	t := Table{Columns: []string{"check", "state", "found", "fix"}}
	broken, warned := 0, 0
	for _, f := range findings {
		state := "ok"
		switch {
		case !f.OK:
			state = "BROKEN"
			broken++
		case f.Warning:
			state = "warning"
			warned++
		}
		t.Rows = append(t.Rows, []string{f.Check, state, f.Found, f.Fix})
	}
	if broken > 0 {
		a.partial = findings
		if a.format != "json" {
			t.write(a.out)
		}
		return environment("doctor.broken", "the lines marked BROKEN say how", "%s", count(broken, "check")+" failed")
	}
	verdict := "all is well"
	if warned > 0 {
		verdict = "nothing is broken; " + count(warned, "warning")
	}
	return a.answer("doctor", verdict, findings, t)
}

func (a *app) checkCatalog() []Finding {
	f := Finding{Check: "catalog " + a.settings.Catalog}
	c, err := loadCatalog(a.settings.Catalog)
	if err != nil {
		f.Found, f.Fix = err.Error(), "syncline catalog lint"
		return []Finding{f}
	}
	f.OK, f.Found = true, fmt.Sprintf("%s, %s", count(len(c.Systems), "system"), count(len(c.Tables), "table"))
	return []Finding{f}
}

func (a *app) checkKafka(ctx context.Context) []Finding {
	var out []Finding
	engine, names := a.working(ctx)
	sources := a.sourceTopics()
	examined := run.Examine(ctx, engine, pipelines.Intake, sources)
	examined = append(examined, run.ExaminePositions(ctx, engine, names.Readers(sources))...)
	for _, e := range examined {
		out = append(out, Finding{Check: e.Check, OK: e.OK, Warning: e.Warning, Found: e.Found, Fix: e.Fix})
	}
	return out
}

// sourceTopics are those of the catalog; none if it cannot be read, which
// checkCatalog says.
func (a *app) sourceTopics() []string {
	c, err := loadCatalog(a.settings.Catalog)
	if err != nil {
		return nil
	}
	topics := make([]string, 0, len(c.Tables))
	for i := range c.Tables {
		topics = append(topics, c.Tables[i].Topic)
	}
	return topics
}

func (a *app) checkRegistry(ctx context.Context) Finding {
	f := Finding{Check: "schema registry " + a.settings.RegistryURL, Fix: "start it (`syncline up`) or give --registry-url"}
	r, err := a.registryClient()
	if err != nil {
		f.Found = err.Error()
		return f
	}
	defer r.Close()
	subjects, err := r.Subjects(ctx)
	if err != nil {
		f.Found = root(err).Error()
		return f
	}
	return Finding{Check: f.Check, OK: true, Found: count(len(subjects), "subject")}
}

func (a *app) checkClickHouse(ctx context.Context) Finding {
	f := Finding{Check: "ClickHouse " + a.settings.ClickHouse, Fix: "start it (`syncline up`) or give --clickhouse"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.settings.ClickHouse+"/ping", http.NoBody)
	if err != nil {
		f.Found = err.Error()
		return f
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.Found = root(err).Error()
		return f
	}
	resp.Body.Close()
	conn, err := a.scratch()
	if err != nil {
		f.Found = err.Error()
		return f
	}
	defer conn.Close()
	v, err := conn.ServerVersion()
	if err != nil {
		f.Found = err.Error()
		return f
	}
	return Finding{Check: f.Check, OK: true, Found: fmt.Sprintf("version %d.%d.%d", v.Version.Major, v.Version.Minor, v.Version.Patch)}
}
