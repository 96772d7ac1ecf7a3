package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"azwi/internal/azure"
	"azwi/internal/finding"
	"azwi/internal/kube"
	"azwi/internal/terminal"
	"azwi/internal/token/entra"
)

// Exit codes of azwi.
const (
	ExitOK           = 0
	ExitError        = 1
	ExitDifferent    = 2
	ExitNotPermitted = 3
	ExitTimeout      = 4
)

// Streams are what a command reads and writes. Results go to Out, everything
// else to Err.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Program is the name by which azwi was called: as kubectl-azwi it is a plugin of
	// kubectl, and says so in its usage. Default: azwi.
	Program string
}

// An output keeps the first error in writing, so that no caller can lose it.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// A CodedError gives an error an exit code of its own. Without an error nothing
// is said: a command that exec ran has said it.
type CodedError struct {
	Code int
	err  error
}

func (e *CodedError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.err.Error()
}

func (e *CodedError) Unwrap() error { return e.err }

// Exit gives an error an exit code; without one nothing is said.
func Exit(code int, err error) error { return &CodedError{code, err} }

// A Env is what all commands share.
type Env struct {
	In io.Reader
	// Out and Err are for text: results, and everything else.
	Out, Err *terminal.Writer
	// data is standard output for what programs read, which is written as it is:
	// JSON, YAML, manifests, tokens.
	Data    *output
	Streams Streams
	Getenv  func(string) string
	Debug   bool
	Log     *slog.Logger
	Level   *slog.LevelVar

	waits *waiting
}

// New makes what commands share. The streams and getenv are required.
func New(streams Streams, getenv func(string) string) *Env {
	level := new(slog.LevelVar)
	r := &Env{
		In: streams.In, Out: terminal.New(streams.Out), Err: terminal.New(streams.Err), Data: &output{to: streams.Out}, Streams: streams,
		Getenv: getenv, Level: level,
		Log: slog.New(slog.NewTextHandler(terminal.Log(streams.Err), &slog.HandlerOptions{Level: level})),
	}
	r.waits = &waiting{out: r.Err, terminal: r.Err.IsTerminal()}
	r.setColours("auto")
	return r
}

// ColourFlag adds --color to all commands.
func (r *Env) ColourFlag(root *cobra.Command) {
	root.PersistentFlags().Var((*colourFlag)(r), "color", "auto, always or never; auto is on a terminal, unless $NO_COLOR is set")
	root.PersistentFlags().Lookup("color").DefValue = "auto"
	_ = root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions(colourModes(), cobra.ShellCompDirectiveNoFileComp))
}

func colourModes() []string { return []string{"auto", "always", "never"} }

func (r *Env) setColours(mode string) {
	r.Out.SetColours(terminal.Colours(mode, r.Streams.Out, r.Getenv))
	r.Err.SetColours(terminal.Colours(mode, r.Streams.Err, r.Getenv))
}

// A colourFlag is --color.
type colourFlag Env

func (*colourFlag) String() string { return "auto" }

// Type is what help shows as the value.
func (*colourFlag) Type() string { return "string" }

func (f *colourFlag) Set(mode string) error {
	if !slices.Contains(colourModes(), mode) {
		return errors.New("use auto, always or never")
	}
	(*Env)(f).setColours(mode)
	return nil
}

// Finish reports the error with which a command ended, and returns the exit code. ctx
// is the command's: an interrupted one has a code of its own.
func (r *Env) Finish(ctx context.Context, err error) int {
	err = interrupted(ctx, err)
	// What was not written comes first, so that no other exit code hides it.
	if unwritten := cmp.Or(r.Out.Err(), r.Data.err); unwritten != nil && !errors.Is(err, unwritten) {
		err = Exit(ExitError, errors.Join(fmt.Errorf("write the output: %w", unwritten), err))
	}
	if err == nil {
		return ExitOK
	}
	coded, ok := errors.AsType[*CodedError](err)
	if !ok {
		coded = &CodedError{ExitError, err}
		if azure.Forbidden(err) || kube.IsForbidden(err) {
			coded.Code = ExitNotPermitted
		}
	}
	if coded.err != nil {
		r.report(err)
	}
	return coded.Code
}

// report tells of an error on one line, unless --debug asks for all, and what to
// do about it.
func (r *Env) report(err error) {
	text := azure.Brief(err)
	if r.Debug {
		text = err.Error()
	}
	r.Err.Lead(terminal.Bad, "azwi: ", "  ", text)
	if id := azure.Refused(err).RequestID; r.Debug && id != "" {
		r.Err.Block("request ID: ", "  ", id)
	}
	if advice := adviceOn(err); advice != "" {
		r.Err.Block("what to do: ", "  ", advice)
	}
}

// adviceOn says what to do about what Azure, the API server or the file system refused.
func adviceOn(err error) string {
	if refusal, ok := kube.Explain(err); ok {
		return refusal.Text()
	}
	if advice := azure.Advice(err); advice != "" {
		return advice
	}
	if errors.Is(err, entra.ErrAssertion) {
		return finding.AssertionFileAdvice()
	}
	return finding.FileAdvice(err)
}

// OutputFlag adds --output.
func OutputFlag(cmd *cobra.Command, output *string) {
	OutputFlagOf(cmd, output, "text", "json", "yaml")
}

// OutputFlagOf adds --output with the forms of a command that has others.
func OutputFlagOf(cmd *cobra.Command, output *string, forms ...string) {
	last := len(forms) - 1
	cmd.Flags().StringVarP(output, "output", "o", "text", strings.Join(forms[:last], ", ")+" or "+forms[last])
	InGroup(cmd.Flags(), Output, "output")
	Complete(cmd, "output", forms...)
}

// Print writes a result in the form that --output asks for; text writes it for
// people.
func (r *Env) Print(output string, v any, text func()) error {
	switch output {
	case "text":
		text()
		return nil
	case "json":
		e := json.NewEncoder(r.Data)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "yaml":
		raw, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = r.Data.Write(raw)
		return err
	}
	return CheckOutput(output)
}

// CheckOutput is the error if print does not know the form.
func CheckOutput(output string) error {
	if slices.Contains([]string{"text", "json", "yaml"}, output) {
		return nil
	}
	return fmt.Errorf("--output %q: use text, json or yaml", output)
}

// NoArguments refuses arguments but for empty ones, which upstream ignores too: in
// scripts, a quoted variable that is not set.
func NoArguments(cmd *cobra.Command, args []string) error {
	return cobra.NoArgs(cmd, slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "" }))
}

// Number counts things that have a regular plural.
func Number(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// Progress tells of a step of something that takes time.
func (r *Env) Progress(line string) {
	word, rest, _ := strings.Cut(line, " ")
	colours := map[string]terminal.Colour{"applied": terminal.Good, "removed": terminal.Bad, "warning:": terminal.Changed}
	if rest != "" {
		rest = " " + rest
	}
	r.Err.Printf("%s%s\n", colours[word].Text(word), rest)
}

// Complete offers the values of a flag to shells. A tab in a value begins its
// description.
func Complete(c *cobra.Command, name string, values ...string) {
	// An error is a flag of that name that is not there, which tests would find.
	_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}
