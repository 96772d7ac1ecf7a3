// Package mlog stands in for monis.app/mlog, with which upstream's webhook logs: that
// module can't be had everywhere. It has what the webhook calls, and logs JSON to
// standard error.
package mlog

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
)

// LogLevel is the value of --log-level.
type LogLevel string

// The levels that upstream's webhook names.
const (
	LevelWarning LogLevel = ""
	LevelInfo    LogLevel = "info"
	LevelDebug   LogLevel = "debug"
	LevelTrace   LogLevel = "trace"
	LevelAll     LogLevel = "all"
)

// FormatJSON is the only format.
const FormatJSON = "json"

// LogSpec is what the webhook asks for. All of it is taken and nothing heeded: info is logged.
type LogSpec struct {
	Level  LogLevel
	Format string
}

// Logger logs.
type Logger struct{ to logr.Logger }

// New returns a logger without a name.
func New() Logger { return Logger{Logr()} }

// WithName returns a logger whose lines have the name.
func (l Logger) WithName(name string) Logger { return Logger{l.to.WithName(name)} }

// WithValues returns a logger whose lines have the keys and values.
func (l Logger) WithValues(pairs ...any) Logger { return Logger{l.to.WithValues(pairs...)} }

// Info logs a line.
func (l Logger) Info(message string, pairs ...any) { l.to.Info(message, pairs...) }

// Error logs an error.
func (l Logger) Error(message string, err error, pairs ...any) { l.to.Error(err, message, pairs...) }

// Logr is the logger for controller-runtime.
func Logr() logr.Logger {
	return funcr.NewJSON(func(line string) { fmt.Fprintln(os.Stderr, line) }, funcr.Options{LogTimestamp: true})
}

// Setup does nothing, and returns what does nothing.
func Setup() func() { return func() {} }

// ValidateAndSetLogLevelAndFormatGlobally takes any.
func ValidateAndSetLogLevelAndFormatGlobally(context.Context, LogSpec) error { return nil }

// Enabled says whether lines of the level are logged.
func Enabled(level LogLevel) bool { return level == LevelInfo || level == LevelWarning }

// Fatal ends the program with 1.
func Fatal(err error, _ ...any) {
	line, _ := json.Marshal(map[string]string{"level": "fatal", "error": err.Error()})
	fmt.Fprintln(os.Stderr, string(line))
	os.Exit(1)
}
