package command

import (
	"context"
	"errors"
)

// ExitInterrupted is the exit code after SIGINT, as shells have it. A program that
// SIGTERM ends has it too: whoever sends that knows why.
const ExitInterrupted = 130

// interrupted gives the error of an interrupted command its exit code, and a text that
// says how to go on. Errors that say it themselves have the method Interrupted.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil || err == nil {
		return err
	}
	if _, coded := errors.AsType[*CodedError](err); coded {
		return err
	}
	own, ok := errors.AsType[interface {
		error
		Interrupted()
	}](err)
	if ok {
		return Exit(ExitInterrupted, own)
	}
	return Exit(ExitInterrupted, errors.New("interrupted: run the same command again to go on"))
}
