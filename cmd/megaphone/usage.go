package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"megaphone/internal/text"
	"megaphone/internal/typed"
)

// usageError is a mistake of the user, not of the environment.
type usageError struct{ error }

// complain writes a command line's error to standard error, and names the help.
func complain(cmd *cobra.Command, err error) {
	report(err, fmt.Sprintf("Try `%s --help`.\n", cmd.CommandPath()))
}

// noArgs is cobra.NoArgs with a better message. It suggests a flag if the argument resembles a flag's name.
func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !cmd.HasParent():
		return unknownCommand(cmd, args[0])
	}
	name, _, _ := strings.Cut(args[0], "=")
	return usageError{fmt.Errorf("unexpected argument %q: %s takes flags only%s", args[0], cmd.CommandPath(),
		didYouMean("--", typed.Nearest(name, flagNames(cmd))))}
}

// unknownCommand returns the error for a first word that is not a command.
func unknownCommand(root *cobra.Command, word string) error {
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			names = append(names, c.Name())
		}
	}
	return usageError{fmt.Errorf("unknown command %q%s", word, didYouMean("", typed.Nearest(word, names)))}
}

func didYouMean(dashes, name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %s%s?", dashes, name)
}

func flagNames(cmd *cobra.Command) (names []string) {
	add := func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	}
	cmd.Flags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	return names
}

// flagError returns an error with the flag, its value and a remedy.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &unknown):
		return usageError{unknownFlag(cmd, unknown)}
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		return usageError{fmt.Errorf("--%s %s: %s", f.Name, invalid.GetValue(), remedy(f, invalid.Unwrap()))}
	case errors.As(err, &missing):
		f := missing.GetFlag()
		return usageError{fmt.Errorf("--%s: needs a value: %s", f.Name, valueName(f))}
	case errors.As(err, &syntax):
		return usageError{fmt.Errorf("%s: not a flag", syntax.GetSpecifiedFlag())}
	}
	return usageError{err}
}

// unknownFlag also handles -sessions, which pflag takes for a row of single letters.
func unknownFlag(cmd *cobra.Command, err *pflag.NotExistError) error {
	name, written := err.GetSpecifiedName(), "--"+err.GetSpecifiedName()
	if letters := err.GetSpecifiedShortnames(); letters != "" {
		name, _, _ = strings.Cut(letters, "=")
		written = "-" + name
	}
	if name == "version" {
		return fmt.Errorf("unknown flag: %s%s", written, didYouMean(cmd.Root().Name()+" --", name))
	}
	return fmt.Errorf("unknown flag: %s%s", written, didYouMean("--", typed.Nearest(name, flagNames(cmd))))
}

// remedy returns a valid form of a flag's value. The program's own types have it in their error.
func remedy(f *pflag.Flag, err error) string {
	switch f.Value.Type() {
	case "number":
		if strings.Contains(f.Usage, "seconds") {
			return "use a number of seconds, without a unit, for example 60"
		}
	case "duration":
		return "use a number with its unit, for example 30s or 5m"
	case "bool":
		return "use true or false"
	case "stringSlice":
		return "use a comma-separated list"
	}
	return err.Error()
}

func valueName(f *pflag.Flag) string {
	name, _ := pflag.UnquoteUsage(f)
	return name
}

// misplaced detects an unknown command before root rejects the command's flags, which it does not know: laod --target
// URL.
func misplaced(root *cobra.Command, args []string) error {
	front := pflag.NewFlagSet("", pflag.ContinueOnError)
	front.SetOutput(io.Discard)
	front.SetInterspersed(false)
	front.AddFlagSet(root.PersistentFlags())
	if front.Parse(args) != nil {
		return nil // root reports the mistake in the flag
	}
	switch front.Arg(0) {
	case "", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd: // cobra adds these when it runs
		return nil
	}
	return unknownCommand(root, front.Arg(0))
}

// newHelp returns cobra's help command with an error for an unknown command.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmd.Root(), strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	}
}

// strict makes cobra's own commands reject arguments as this program's do.
func strict(cmd *cobra.Command) {
	cmd.Args = noArgs
	if cmd.HasSubCommands() {
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, c := range cmd.Commands() {
		strict(c)
	}
}

// printHelp prints a command's help in lines that fit any terminal.
func printHelp(cmd *cobra.Command, _ []string) {
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n%s", reflow(or(cmd.Long, cmd.Short)), usage(cmd))
}

// usage returns the part of the help generated from commands and flags.
func usage(cmd *cobra.Command) string {
	var s strings.Builder
	s.WriteString("Usage:\n")
	if cmd.Runnable() {
		fmt.Fprintf(&s, "  %s\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&s, "  %s [command]\n", cmd.CommandPath())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&s, "\nExamples:\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		s.WriteString("\nAvailable Commands:\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() || c.Name() == "help" {
				fmt.Fprintf(&s, "%s\n", reflow(fmt.Sprintf("  %-10s  %s", c.Name(), c.Short)))
			}
		}
	}
	if cmd.HasAvailableLocalFlags() {
		fmt.Fprintf(&s, "\nFlags:\n%s", cmd.LocalFlags().FlagUsagesWrapped(text.Columns))
	}
	if cmd.HasAvailableInheritedFlags() {
		fmt.Fprintf(&s, "\nGlobal Flags:\n%s", cmd.InheritedFlags().FlagUsagesWrapped(text.Columns))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&s, "\nUse \"%s [command] --help\" for more about a command.\n", cmd.CommandPath())
	}
	return s.String()
}

// reflow wraps paragraphs to the width of a terminal. A line with two spaces inside is a word and its explanation. The
// explanation stays in its column, with the lines below it at the same indentation.
func reflow(long string) string {
	var out []string
	var item string
	column := -1
	flush := func() {
		if column >= 0 {
			out = append(out, hang(item, column)...)
		}
		column = -1
	}
	for line := range strings.SplitSeq(long, "\n") {
		body := strings.TrimLeft(line, " ")
		margin := len(line) - len(body)
		switch {
		case body == "":
			flush()
			out = append(out, "")
		case margin == column:
			item += " " + body
		default:
			flush()
			item, column = line, margin
			if _, explained, ok := strings.Cut(body, "  "); ok {
				column = len(line) - len(strings.TrimLeft(explained, " "))
			}
		}
	}
	flush()
	return strings.Join(out, "\n")
}

// hang wraps an item's text from a column on.
func hang(item string, column int) []string {
	lines := text.Wrap(item[column:], text.Columns-column)
	for i := range lines {
		front := item[:column]
		if i > 0 {
			front = strings.Repeat(" ", column)
		}
		lines[i] = front + lines[i]
	}
	return lines
}
