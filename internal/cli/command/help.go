package command

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"azwi/internal/spelling"
)

// Width is how many columns a line of help has at most, and Height how many lines
// the help of a command.
const (
	Width  = 80
	Height = 40
)

// Docs is the annotation of commands that names the page with all that help leaves out.
// Commands below have it too.
const Docs = "docs"

// A Group is a heading of help, with flags below it.
type Group string

// Groups of flags in the order of help; flags of none come first.
const (
	Identity   Group = "Identity"
	Kubernetes Group = "Kubernetes"
	Azure      Group = "Azure"
	Output     Group = "Output"
)

// Rare groups: help names them, and --help=all shows their flags.
const (
	OtherIdentity Group = "identity by ID, service principal"
	OtherSignIn   Group = "sign-in by secret or certificate"
	OtherClouds   Group = "other clouds"
	NoCluster     Group = "without a cluster"
	Injection     Group = "settings of injection"
	OtherFlags    Group = "rarely needed"
)

const groupAnnotation = "group"

func groups() (usual, rare []Group) {
	return []Group{"", Identity, Kubernetes, Azure, Output}, []Group{OtherIdentity, OtherSignIn, OtherClouds, NoCluster, Injection, OtherFlags}
}

// InGroup puts flags under a heading of help. Flags that already have one keep it.
func InGroup(f *pflag.FlagSet, group Group, names ...string) {
	for _, name := range names {
		if f.Lookup(name).Annotations[groupAnnotation] == nil {
			// An error is a flag of that name that is not there, which tests would find.
			_ = f.SetAnnotation(name, groupAnnotation, []string{string(group)})
		}
	}
}

// Alias keeps an old spelling of a flag working, and out of help and docs.
func Alias(f *pflag.FlagSet, old, name string) {
	before := f.GetNormalizeFunc()
	f.SetNormalizeFunc(func(f *pflag.FlagSet, given string) pflag.NormalizedName {
		if given == old {
			given = name
		}
		return before(f, given)
	})
}

// A helpFlag is --help, or --help=all.
type helpFlag struct{ asked, all bool }

func (h *helpFlag) String() string { return strconv.FormatBool(h.asked) }

// Type is what cobra reads the flag as.
func (*helpFlag) Type() string { return "bool" }

func (h *helpFlag) Set(text string) (err error) {
	if h.all = text == "all"; h.all {
		h.asked = true
		return nil
	}
	if h.asked, err = strconv.ParseBool(text); err != nil {
		return errors.New("use --help or --help=all")
	}
	return nil
}

// SetHelp gives the commands below root their help.
func SetHelp(root *cobra.Command) {
	var h helpFlag
	root.PersistentFlags().VarPF(&h, "help", "h", "show help; --help=all shows rarely needed flags too").NoOptDefVal = "true"
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { c.Print(Help(c, h.all)) })
	root.SetFlagErrorFunc(flagError)
}

// Help is what --help prints, and --help=all. Where it is too high for a screen, flags
// are told in brief, and closer together.
func Help(c *cobra.Command, all bool) string {
	text := helpText(c, all, false)
	if !all && strings.Count(text, "\n") > Height {
		return helpText(c, all, true)
	}
	return text
}

// isGroup tells whether a command only has other commands.
func isGroup(c *cobra.Command) bool {
	return !c.HasParent() || c.HasAvailableSubCommands() && !c.NonInheritedFlags().HasAvailableFlags()
}

func helpText(c *cobra.Command, all, brief bool) string {
	var b strings.Builder
	text := c.Long
	if text == "" {
		text = strings.TrimSuffix(c.Short, ".") + "."
	}
	b.WriteString(text + "\n\nUsage:\n")
	use := c.UseLine()
	if isGroup(c) {
		use = c.CommandPath() + " [command]"
	}
	b.WriteString(wrap("  "+use, 4))
	if c.Example != "" {
		b.WriteString("\nExamples:\n" + c.Example + "\n")
	}
	writeCommands(&b, c, brief)
	rest := writeFlags(&b, c, all, brief)
	if len(rest) > 0 {
		b.WriteString("\n" + wrap("More flags with --help=all: "+strings.Join(rest, ", ")+".", 2))
	}
	if c.HasAvailableSubCommands() && !brief {
		fmt.Fprintf(&b, "\nHelp of a command: %s COMMAND --help\n", c.CommandPath())
	}
	if page := docs(c); page != "" {
		if len(rest) == 0 && !c.HasAvailableSubCommands() {
			b.WriteString("\n")
		}
		b.WriteString("Read more: " + page + "\n")
	}
	return b.String()
}

func docs(c *cobra.Command) string {
	for ; c != nil; c = c.Parent() {
		if page := c.Annotations[Docs]; page != "" {
			return page
		}
	}
	return ""
}

func writeCommands(b *strings.Builder, c *cobra.Command, brief bool) {
	width, before := 0, "\n"
	for _, sub := range c.Commands() {
		width = max(width, len(sub.Name()))
	}
	write := func(title, id string) {
		var lines strings.Builder
		for _, sub := range c.Commands() {
			if sub.GroupID == id && sub.IsAvailableCommand() {
				lines.WriteString(wrap(fmt.Sprintf("  %-*s  %s", width, sub.Name(), sub.Short), width+4))
			}
		}
		if lines.Len() > 0 {
			b.WriteString(before + title + ":\n" + lines.String())
			if brief {
				before = ""
			}
		}
	}
	for _, g := range c.Groups() {
		write(g.Title, g.ID)
	}
	title := "Commands"
	if len(c.Groups()) > 0 {
		title = "Other"
	}
	write(title, "")
}

// writeFlags returns the names of the groups that it leaves out.
func writeFlags(b *strings.Builder, c *cobra.Command, all, brief bool) (rest []string) {
	flags := c.NonInheritedFlags()
	write := func(title string, group Group) {
		var lines string
		flags.VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && groupOf(f) == group {
				lines += flagLines(f, brief)
			}
		})
		if lines == "" {
			return
		}
		if !brief || group == "" {
			b.WriteString("\n")
		}
		b.WriteString(title + ":\n" + lines)
	}
	usual, rare := groups()
	for _, g := range usual {
		if g == "" {
			write("Flags", g)
			continue
		}
		write(string(g), g)
	}
	for _, g := range rare {
		if all {
			write(strings.ToUpper(string(g[:1]))+string(g[1:]), g)
			continue
		}
		used := false
		flags.VisitAll(func(f *pflag.Flag) { used = used || !f.Hidden && groupOf(f) == g })
		if used {
			rest = append(rest, string(g))
		}
	}
	return rest
}

func groupOf(f *pflag.Flag) Group {
	if g := f.Annotations[groupAnnotation]; len(g) > 0 {
		return Group(g[0])
	}
	return ""
}

// flagColumn is where what a flag means begins.
const flagColumn = 30

func flagLines(f *pflag.Flag, brief bool) string {
	kind, usage := pflag.UnquoteUsage(f)
	if brief {
		// Without details and defaults.
		kind, usage = "", regexp.MustCompile(`(; | \(|, such as |: ).*$`).ReplaceAllString(usage, "")
	}
	name := "      --" + f.Name
	if f.Shorthand != "" {
		name = "  -" + f.Shorthand + ", --" + f.Name
	}
	switch kind {
	case "":
	case "strings", "stringArray":
		name += " string"
	default:
		name += " " + kind
	}
	// What has a default tells it; lists and switches that are off need none.
	if !brief && !slices.Contains([]string{"", "false", "[]", "0", "0s"}, f.DefValue) && !strings.Contains(usage, "(default") {
		usage += " (default " + f.DefValue + ")"
	}
	if len(name)+2 > flagColumn {
		if brief {
			return wrap(name+"  "+usage, flagColumn)
		}
		return name + "\n" + wrap(strings.Repeat(" ", flagColumn)+usage, flagColumn)
	}
	return wrap(fmt.Sprintf("%-*s%s", flagColumn, name, usage), flagColumn)
}

// wrap breaks a line between words, where it can, and indents what follows.
func wrap(line string, indent int) string {
	var b strings.Builder
	for len(line) > Width {
		end := strings.LastIndexByte(line[:Width+1], ' ')
		if end <= indent { // a long word is broken after a comma
			if end = strings.LastIndexByte(line[:Width], ','); end <= indent {
				break
			}
			b.WriteString(line[:end+1] + "\n")
			line = strings.Repeat(" ", indent) + line[end+1:]
			continue
		}
		b.WriteString(strings.TrimRight(line[:end], " ") + "\n")
		line = strings.Repeat(" ", indent) + line[end+1:]
	}
	return b.String() + line + "\n"
}

// flagError adds to a mistake in flags which was meant, and the help that has it.
func flagError(c *cobra.Command, err error) error {
	help := fmt.Sprintf(" (see %s --help)", c.CommandPath())
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return fmt.Errorf("%w%s", err, help)
	}
	var known []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			known = append(known, "--"+f.Name)
		}
	})
	if name := unknown.GetSpecifiedName(); unknown.GetSpecifiedShortnames() == "" {
		if nearest := spelling.Nearest("--"+name, known); nearest != "" {
			return fmt.Errorf("%w: did you mean %s? See %s --help", err, nearest, c.CommandPath())
		}
	}
	return fmt.Errorf("%w%s", err, help)
}

// UnknownCommand reports a name that is not a subcommand of c, and suggests the nearest one.
func UnknownCommand(c *cobra.Command, name string) error {
	var known []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			known = append(append(known, sub.Name()), sub.Aliases...)
		}
	}
	return fmt.Errorf("unknown command %q for %q%s (see %s --help)", name, c.CommandPath(), spelling.Suggest(name, known), c.CommandPath())
}
