// Command docs writes the command reference, docs/cli, from the commands
// themselves. Run it at the root of the repository: go run ./internal/gen/docs.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kfdev/kfdev/cmd/kfdev/root"
)

func main() {
	if err := run(filepath.Join("docs", "cli")); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run writes the reference into dir, which then holds nothing else.
func run(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range pages(root.New()) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// pages returns a page for every command that people use, by file name.
func pages(cmd *cobra.Command) map[string]string {
	cmd.InitDefaultCompletionCmd()
	out := map[string]string{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		out[fileName(c)] = page(c)
		for _, sub := range c.Commands() {
			if !sub.Hidden && sub.Name() != "help" {
				walk(sub)
			}
		}
	}
	walk(cmd)
	return out
}

func fileName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "_") + ".md" }

func page(c *cobra.Command) string {
	var out bytes.Buffer
	fmt.Fprintf(&out, "<!-- Written by go run ./internal/gen/docs; do not edit. -->\n\n# %s\n\n%s.\n", c.CommandPath(), strings.TrimRight(c.Short, "."))
	if c.Long != "" {
		fmt.Fprintf(&out, "\n%s\n", block("text", c.Long))
	}
	if c.Runnable() && c.HasParent() {
		fmt.Fprintf(&out, "\n%s\n", block("", c.UseLine()))
	}
	if c.Example != "" {
		fmt.Fprintf(&out, "\n## Examples\n\n%s\n", block("sh", strings.ReplaceAll("\n"+c.Example, "\n  ", "\n")))
	}
	flags(&out, "Flags", c.NonInheritedFlags())
	flags(&out, "Flags of every command", c.InheritedFlags())
	commands(&out, c)
	fmt.Fprintf(&out, "\n## Exit codes\n\n%s\n", block("text", strings.TrimPrefix(strings.TrimSpace(root.ExitCodes), "Exit codes:")))
	if c.HasParent() {
		fmt.Fprintf(&out, "\nPart of [%s](%s).\n", c.Parent().CommandPath(), fileName(c.Parent()))
	}
	return out.String()
}

func block(kind, text string) string {
	return "```" + kind + "\n" + strings.Trim(text, "\n") + "\n```"
}

func flags(out *bytes.Buffer, title string, set *pflag.FlagSet) {
	if set.HasAvailableFlags() {
		fmt.Fprintf(out, "\n## %s\n\n%s\n", title, block("text", set.FlagUsages()))
	}
}

func commands(out *bytes.Buffer, c *cobra.Command) {
	first := true
	for _, sub := range c.Commands() {
		if sub.Hidden || sub.Name() == "help" {
			continue
		}
		if first {
			out.WriteString("\n## Commands\n\n")
			first = false
		}
		fmt.Fprintf(out, "- [%s](%s): %s\n", sub.CommandPath(), fileName(sub), strings.TrimRight(sub.Short, "."))
	}
}
