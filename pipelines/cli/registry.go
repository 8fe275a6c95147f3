package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"syncline/pipelines/plainfile"
	"syncline/schemas/registry"
)

func (a *app) registryCommand() *cobra.Command {
	c := &cobra.Command{Use: "registry", GroupID: "operate", Short: "Look at schemas and check a change of one"}
	list := &cobra.Command{
		Use: "subjects", Short: "List subjects with their versions", Args: cobra.NoArgs,
		RunE: a.withRegistry(func(cmd *cobra.Command, _ []string, r *registry.Remote) error {
			subjects, err := r.Subjects(cmd.Context())
			if err != nil {
				return err
			}
			t := Table{Columns: []string{"subject", "versions"}}
			for _, s := range subjects {
				v, err := r.Versions(cmd.Context(), s)
				if err != nil {
					return err
				}
				t.Rows = append(t.Rows, []string{s, strconv.Itoa(len(v))})
			}
			return a.answer("registry subjects", count(len(t.Rows), "subject"), t, t)
		}),
	}
	show := &cobra.Command{
		Use: "show ID", Short: "Print the schema with an id", Args: cobra.ExactArgs(1),
		RunE: a.withRegistry(func(cmd *cobra.Command, args []string, r *registry.Remote) error {
			id, err := strconv.Atoi(args[0])
			if err != nil {
				return input("usage.id", "give a number", "%q is no schema id", args[0])
			}
			text, err := r.SchemaByID(cmd.Context(), id)
			if err != nil {
				return err
			}
			return a.answer("registry show", text, map[string]any{"id": id, "schema": text})
		}),
	}
	check := &cobra.Command{
		Use: "check SUBJECT FILE", Short: "Would this schema be accepted, and is it safe to release?", Args: cobra.ExactArgs(2),
		Long: `Asks the registry whether the schema in FILE (- for stdin) is compatible by the
subject's level, and checks what no level looks at: changed decimals, time units,
dropped logical types, namespaces. Exit code 4 where it is not.`,
		RunE: a.withRegistry(func(cmd *cobra.Command, args []string, r *registry.Remote) error {
			text, err := a.readFile(args[1])
			if err != nil {
				return err
			}
			ok, err := r.Compatible(cmd.Context(), args[0], text)
			if err != nil {
				return err
			}
			t := Table{Columns: []string{"path", "finding"}}
			if latest, err := r.Latest(cmd.Context(), args[0]); err == nil {
				findings, err := registry.CheckRelease(latest.Schema, text)
				if err != nil {
					return input("input.schema", "correct the schema", "%w", err)
				}
				for _, f := range findings {
					t.Rows = append(t.Rows, []string{f.Path, f.Message})
				}
			}
			if !ok {
				t.Rows = append(t.Rows, []string{"", "not compatible by the level of subject " + args[0]})
			}
			if len(t.Rows) > 0 {
				a.partial = t
				if a.format != "json" {
					t.write(a.out)
				}
				return failure(ExitDifferences, "registry.incompatible", "keep the old field and add a new one beside it", "%s", count(len(t.Rows), "finding"))
			}
			return a.answer("registry check", "compatible, nothing found", map[string]bool{"compatible": true})
		}),
	}
	c.AddCommand(list, show, check)
	return c
}

func (a *app) withRegistry(do func(*cobra.Command, []string, *registry.Remote) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := a.followPlatform(); err != nil {
			return err
		}
		r, err := a.registryClient()
		if err != nil {
			return err
		}
		defer r.Close()
		err = do(cmd, args, r)
		switch {
		case errors.Is(err, registry.ErrUnreachable):
			return environment("registry.unreachable", "start it (`syncline up`) or give --registry-url", "%w", err)
		case errors.Is(err, registry.ErrUnknownID):
			return failure(ExitFailed, "registry.unknown_id", "`syncline registry subjects` lists what there is", "%w", err)
		}
		return err
	}
}

func (a *app) readFile(name string) (string, error) {
	const most = 1 << 20
	if name != "-" {
		b, err := plainfile.Read(name, most)
		if err != nil {
			return "", input("input.file", "give a file; schemas are at most 256 KiB", "%w", err)
		}
		return string(b), nil
	}
	b, err := io.ReadAll(io.LimitReader(a.in, most+1))
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", name, err)
	}
	if len(b) > most {
		return "", input("input.file", "schemas are at most 256 KiB", "%s is larger than %d bytes", name, most)
	}
	return string(b), nil
}
