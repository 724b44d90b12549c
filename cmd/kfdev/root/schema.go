package root

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/cmd/kfdev/internal/view"
	"github.com/kfdev/kfdev/schema"
)

func newSchema(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of kfdev.yaml, for editors",
		Long: `Prints the JSON Schema (draft 2020-12) of kfdev.yaml. An editor with a YAML
language server checks the file as it is written once it knows the schema:

  kfdev schema > .kfdev.schema.json

and, as the first line of kfdev.yaml,

  # yaml-language-server: $schema=.kfdev.schema.json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.format == view.YAML {
				return a.result(json.RawMessage(schema.Project()), nil)
			}
			a.close()
			_, err := a.streams.Out.Write(schema.Project())
			return err
		},
	}
}
