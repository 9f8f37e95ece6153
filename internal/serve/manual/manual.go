// Package manual writes the manual pages of the commands. They come from the same table as
// --help, so they cannot say anything else. (Those that cobra makes take the text for
// Markdown, and lose <what is> in it.)
package manual

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wcfs/wcfs/internal/serve/release"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// Write writes a page for root and for each of its commands to the directory dir.
func Write(dir string, root *cobra.Command) error {
	for _, c := range append([]*cobra.Command{root}, Commands(root)...) {
		if err := os.WriteFile(filepath.Join(dir, Name(c)+".1"), []byte(page(c)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Commands returns the commands that have a page of their own.
func Commands(root *cobra.Command) (list []*cobra.Command) {
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			list = append(list, c)
		}
	}
	return list
}

// Name returns the name of the page of a command.
func Name(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// page returns the page of a command, as in man(7).
func page(c *cobra.Command) string {
	var p strings.Builder
	// The date is that of the commit, so that pages are the same whenever they are made.
	fmt.Fprintf(&p, ".TH %q \"1\" %q \"wcfs %s\" \"wcfs\"\n.nh\n.ad l\n", strings.ToUpper(Name(c)),
		release.Built().Time.Format(time.DateOnly), release.Version)
	fmt.Fprintf(&p, ".SH NAME\n%s \\- %s\n", roff(Name(c)), roff(strings.ToLower(c.Short[:1])+c.Short[1:]))
	use := []string{c.UseLine()}
	if !c.HasParent() {
		use = []string{"wcfs COMMAND [OPTIONS] ...", "wcfs [OPTIONS] ZURL MOUNTPOINT"}
	}
	fmt.Fprintf(&p, ".SH SYNOPSIS\n")
	for i, line := range use {
		if i > 0 {
			fmt.Fprintf(&p, ".br\n")
		}
		name := c.CommandPath()
		fmt.Fprintf(&p, "\\fB%s\\fR%s\n", roff(name), roff(strings.TrimPrefix(line, name)))
	}
	long, codes := strings.CutSuffix(strings.TrimSpace(c.Long), fault.Help())
	if long == "" {
		long = c.Short + "."
	}
	fmt.Fprintf(&p, ".SH DESCRIPTION\n%s", paragraphs(long))
	if !c.HasParent() {
		writeCommands(&p, c)
	}
	writeFlags(&p, c.NonInheritedFlags())
	if !c.HasParent() {
		writeExitCodes(&p)
	} else if codes {
		fmt.Fprintf(&p, ".SH EXIT STATUS\n%s", paragraphs("Those of wcfs(1)."))
	}
	if c.Example != "" {
		fmt.Fprintf(&p, ".SH EXAMPLES\n%s", verbatim(c.Example))
	}
	fmt.Fprintf(&p, ".SH SEE ALSO\n%s\n", seeAlso(c))
	return p.String()
}

// paragraphs sets paragraphs. One with lines that are indented stays as it is.
func paragraphs(text string) string {
	var p strings.Builder
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			p.WriteString(".PP\n")
		}
		if strings.Contains("\n"+paragraph, "\n ") {
			p.WriteString(verbatim(paragraph))
			continue
		}
		p.WriteString(roff(paragraph) + "\n")
	}
	return p.String()
}

func verbatim(text string) string {
	return ".nf\n" + roff(strings.TrimRight(text, "\n")) + "\n.fi\n"
}

// roffEscapes are characters that man(1) would show as others, or take for its own.
var roffEscapes = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`)

// roff returns text so that it is shown as it is.
func roff(text string) string {
	return regexp.MustCompile(`(?m)^\.`).ReplaceAllString(roffEscapes.Replace(text), `\&.`)
}

func writeFlags(p *strings.Builder, flags *pflag.FlagSet) {
	fmt.Fprintf(p, ".SH OPTIONS\n")
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden {
			return
		}
		name := "--" + flag.Name
		if flag.Shorthand != "" {
			name = "-" + flag.Shorthand + ", " + name
		}
		arg, usage := pflag.UnquoteUsage(flag)
		if arg != "" {
			arg = " \\fI" + roff(arg) + "\\fR"
		}
		if flag.DefValue != "" && flag.DefValue != "false" && flag.DefValue != "0" && flag.DefValue != "[]" {
			usage += " (default " + flag.DefValue + ")"
		}
		fmt.Fprintf(p, ".TP\n\\fB%s\\fR%s\n%s\n", roff(name), arg, roff(usage))
	})
}

func writeCommands(p *strings.Builder, root *cobra.Command) {
	fmt.Fprintf(p, ".SH COMMANDS\n")
	for _, c := range Commands(root) {
		fmt.Fprintf(p, ".TP\n\\fB%s\\fR(1)\n%s\n", roff(Name(c)), roff(c.Short))
	}
}

func writeExitCodes(p *strings.Builder) {
	fmt.Fprintf(p, ".SH EXIT STATUS\n")
	for _, c := range fault.ExitCodes() {
		fmt.Fprintf(p, ".TP\n\\fB%d\\fR\n%s\n", c.Code, roff(c.Long))
	}
}

func seeAlso(c *cobra.Command) string {
	names := []string{"\\fBwcfs\\fR(1)"}
	if !c.HasParent() {
		names = []string{"\\fBmount.wcfs\\fR(8)"}
	}
	if c.Name() == "mount" {
		names = append(names, "\\fBwcfs\\-stop\\fR(1)", "\\fBmount.wcfs\\fR(8)")
	}
	return strings.Join(names, ",\n")
}
