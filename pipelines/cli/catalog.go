package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"syncline/pipelines/catalog"
)

func (a *app) catalogCommand() *cobra.Command {
	c := &cobra.Command{Use: "catalog", GroupID: "operate", Short: "Look at what is mapped to what"}
	c.AddCommand(&cobra.Command{
		Use: "lint [FILE]", Short: "Check a catalog, with file and line of every mistake", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			name := a.settings.Catalog
			if len(args) == 1 {
				name = args[0]
			}
			cat, err := catalog.Load(name)
			if problems, ok := errors.AsType[catalog.Problems](err); ok {
				a.partial = problems
			} else if err != nil {
				return input("catalog.file", fmt.Sprintf("give a YAML file or one of %v", catalog.Builtin()), "%w", err)
			}
			if err != nil {
				return err
			}
			if _, err := cat.Sources(); err != nil {
				return input("catalog.invalid", "correct the mapping it names", "%w", err)
			}
			return a.answer("catalog lint", fmt.Sprintf("%s: %s, %s, no problem", name, count(len(cat.Systems), "system"), count(len(cat.Tables), "table")),
				map[string]int{"systems": len(cat.Systems), "tables": len(cat.Tables)})
		},
	})
	return c
}
