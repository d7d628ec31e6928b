package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"megaphone/config"
)

// Sections of the manual: the edge is a daemon, its file a file format.
const (
	sectionCommands = "1"
	sectionFiles    = "5"
	sectionDaemons  = "8"
)

const (
	manual     = "Megaphone"
	configPage = "megaphone-edge.yml"
)

// newMan returns the command that packages use to write the manual pages from the help of commands and keys. The pages'
// date is SOURCE_DATE_EPOCH, if it is set.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages into a directory",
		Hidden: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("%d arguments: give one, the directory to write into", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.Root().DisableAutoGenTag = true // the tag contains today's date
			if err := writeMan(cmd.Root(), args[0]); err != nil {
				return fmt.Errorf("man: %w", err)
			}
			page := filepath.Join(args[0], configPage+"."+sectionFiles)
			return os.WriteFile(page, md2man.Render([]byte(configManual())), 0o644)
		},
	}
}

// writeMan writes the page of a command and those of its subcommands.
func writeMan(cmd *cobra.Command, dir string) error {
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "completion" {
			if err := writeMan(c, dir); err != nil {
				return err
			}
		}
	}
	section := sectionOf(cmd.CommandPath())
	cmd.Long = asMarkdown(cmd.Long)
	cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Usage = literal.Replace(f.Usage) })
	var page bytes.Buffer
	err := doc.GenMan(cmd, &doc.GenManHeader{Section: section, Source: manual + " " + version, Manual: manual}, &page)
	if err != nil {
		return err
	}
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	return os.WriteFile(filepath.Join(dir, name+"."+section), seeAlso(page.Bytes(), section), 0o644)
}

func sectionOf(path string) string {
	if path == "megaphone edge" {
		return sectionDaemons
	}
	return sectionCommands
}

// literal escapes Markdown.
var literal = strings.NewReplacer("*", `\*`, "_", `\_`, "<", `\<`)

// seeAlso corrects the references to other pages. cobra gives them its own section, and lists commands without a page.
func seeAlso(page []byte, section string) []byte {
	page = bytes.ReplaceAll(page, fmt.Appendf(nil, `\fBmegaphone-completion(%s)\fP, `, section), nil)
	for _, name := range []string{"megaphone", "megaphone-edge"} {
		right := fmt.Sprintf(`\fB%s(%s)\fP`, name, sectionOf(strings.ReplaceAll(name, "-", " ")))
		page = bytes.ReplaceAll(page, fmt.Appendf(nil, `\fB%s(%s)\fP`, name, section), []byte(right))
	}
	if section == sectionDaemons {
		page = append(bytes.TrimRight(page, "\n"), fmt.Appendf(nil, ", \\fB%s(%s)\\fP\n", configPage, sectionFiles)...)
	}
	return page
}

// asMarkdown preserves the lines of paragraphs in columns.
func asMarkdown(long string) string {
	paragraphs := strings.Split(long, "\n\n")
	for i, p := range paragraphs {
		if strings.Contains(p, "  ") {
			paragraphs[i] = verbatim(p)
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

func verbatim(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}

// configManual returns the page of the edge's file, as Markdown.
func configManual() string {
	return `% ` + configPage + ` ` + sectionFiles + `
# NAME
` + configPage + ` - the configuration file of megaphone edge

# DESCRIPTION
**megaphone edge --config** *FILE* reads a YAML file. It is read strictly: a key that is not known, a value out of
its bounds, and a key that is there twice are errors, which are shown with line, column and a caret. All keys but
**origins** may be left out. Flags of the same names override the file.

The package's services read */etc/megaphone/edge.yml*.

# KEYS
This is the file with every key and its default, as **megaphone edge --print-defaults** prints it.

` + verbatim(config.Example()) + `

# SEE ALSO
**megaphone-edge(8)**, **megaphone(1)**
`
}
