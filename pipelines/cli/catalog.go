package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"syncline/pipelines/catalog"
	"syncline/schemas/registry"
)

func (a *app) catalogCommand() *cobra.Command {
	c := &cobra.Command{Use: "catalog", GroupID: "operate", Short: "Look at what is mapped to what"}
	var registered bool
	lint := &cobra.Command{
		Use: "lint [FILE]", Short: "Check a catalog, with file and line of every mistake", Args: cobra.MaximumNArgs(1),
		Long: `Checks names, owners, mappings and references of a catalog. With
--against-registry also every column and default against the newest schema of its
topic. Without FILE the catalog of --catalog.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.followPlatform(); err != nil {
				return err
			}
			name := a.settings.Catalog
			if len(args) == 1 {
				name = args[0]
			}
			return a.lintCatalog(cmd.Context(), name, registered)
		},
	}
	lint.Flags().BoolVar(&registered, "against-registry", false, "hold it against the newest schemas too")
	schema := &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of catalog files, for editors", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.answer("catalog schema", strings.TrimRight(catalog.Schema(), "\n"), map[string]string{"schema": catalog.Schema()})
		},
	}
	c.AddCommand(lint, schema)
	return c
}

func (a *app) lintCatalog(ctx context.Context, name string, registered bool) error {
	cat, err := loadCatalog(name)
	if err == nil {
		_, err = cat.Sources()
	}
	if err == nil {
		if owned := cat.Owned(a.names.Owns); len(owned) > 0 {
			err = owned
		}
	}
	var found catalog.Review
	if err == nil && registered {
		found, err = a.lintAgainst(ctx, cat)
	}
	if problems, ok := errors.AsType[catalog.Problems](err); ok {
		a.partial = problems
	}
	if err != nil {
		return err
	}
	summary := fmt.Sprintf("%s: %s, %s, no problem", name, count(len(cat.Systems), "system"), count(len(cat.Tables), "table"))
	if n := len(found.Unknown); n > 0 {
		summary += fmt.Sprintf("; %s without a schema in the registry", count(n, "topic"))
	}
	if len(found.Warnings) > 0 {
		summary += "; warnings:\n" + found.Warnings.Error()
	}
	return a.answer("catalog lint", summary, map[string]any{
		"systems": len(cat.Systems), "tables": len(cat.Tables), "topics_without_schema": len(found.Unknown), "warnings": found.Warnings,
	})
}

// lintAgainst holds a catalog against a registry; problems are its error.
func (a *app) lintAgainst(ctx context.Context, cat *catalog.Catalog) (catalog.Review, error) {
	r, err := a.registryClient()
	if err != nil {
		return catalog.Review{}, err
	}
	defer r.Close()
	found, err := cat.Against(ctx, func(ctx context.Context, subject string) (string, bool, error) {
		v, err := r.Latest(ctx, subject)
		if errors.Is(err, registry.ErrRejected) {
			return "", false, nil // it has no such subject
		}
		return v.Schema, err == nil, err
	})
	if errors.Is(err, registry.ErrUnreachable) {
		return found, environment("registry.unreachable", "start it (`syncline up`) or give --registry-url", "%w", root(err))
	}
	if err == nil && len(found.Problems) > 0 {
		err = found.Problems
	}
	return found, err
}
