package finding

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// A Code names a kind of mistake. It is stable: metrics, JSON output and --disable have
// it.
type Code string

// A Finding is one mistake, found.
type Finding struct {
	code    Code
	text    string
	subject Subject
	command string
}

// A Subject is what a finding is about, for those who show where it is written. What
// does not apply is empty.
type Subject struct {
	// Key of the label or annotation.
	Key string
	// Container is the name of one of the pod's.
	Container string
}

// Code returns the kind of mistake.
func (f Finding) Code() Code { return f.code }

// Text returns one line with the problem and the fix. Untrusted values in it are quoted
// as ASCII and truncated.
func (f Finding) Text() string { return f.text }

// Subject returns what it is about.
func (f Finding) Subject() Subject { return f.subject }

// Command mends it, complete for a shell; empty where no single command does. Words from
// outside in it are quoted.
func (f Finding) Command() string { return f.command }

// mend adds the command that mends it.
func (f Finding) mend(words ...string) Finding {
	f.command = shell(words...)
	return f
}

// Severity is what the catalogue says of its code.
func (f Finding) Severity() Severity { return f.code.Severity() }

// Equal reports whether two findings say the same.
func (f Finding) Equal(other Finding) bool { return f == other }

// MarshalJSON writes what programs read.
func (f Finding) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Code     Code     `json:"code"`
		Severity Severity `json:"severity"`
		Text     string   `json:"text"`
		Command  string   `json:"command,omitempty"`
	}{f.code, f.Severity(), f.text, f.command})
}

func (f Finding) String() string { return string(f.code) + ": " + f.text }

// Error makes a code what errors.Is looks for in an error that Err made.
func (c Code) Error() string { return string(c) }

// Err makes an error of a finding, which says what the finding does; errors.Is finds its
// code and the cause in it, if there is one.
func (f Finding) Err(cause error) error { return &Failure{f, cause} }

// A Failure is a finding that ended something.
type Failure struct {
	Finding Finding
	cause   error
}

func (f *Failure) Error() string { return f.Finding.text }

func (f *Failure) Unwrap() error { return f.cause }

// Is reports whether the finding has the code.
func (f *Failure) Is(target error) bool { return target == error(f.Finding.code) }

// Severity says how bad a finding is.
type Severity int

// Severities, from bad to good to know.
const (
	// Error: it does not work, or not as it says.
	Error Severity = iota + 1
	// Warning: it may work, but is likely not what was meant.
	Warning
	// Info: worth knowing.
	Info
)

func (s Severity) String() string {
	switch s {
	case Error:
		return "error"
	case Warning:
		return "warning"
	default:
		return "info"
	}
}

// MarshalText writes the severity as String does.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes; anything else is an error.
func (s *Severity) UnmarshalText(text []byte) error {
	for _, known := range []Severity{Error, Warning, Info} {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("unknown severity %q: use error, warning or info", text)
}

// quote returns an untrusted value in printable form, short enough for an admission
// warning, which the API server truncates at 256 bytes.
func quote(value string) string {
	const most = 64
	if len(value) > most {
		value = value[:most] + "..."
	}
	return strconv.QuoteToASCII(value)
}

// found makes a finding; its format is one of this package's.
func found(code Code, subject Subject, format string, args ...any) Finding {
	return Finding{code: code, text: fmt.Sprintf(format, args...), subject: subject}
}
