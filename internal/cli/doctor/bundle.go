package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"azwi/internal/atomicfile"
	"azwi/internal/cli/command"
	"azwi/internal/doctor"
	"azwi/internal/version"
)

type bundleOptions struct {
	options
	consent           command.Consent
	redactIDs, dryRun bool
}

// NewBundle makes azwi support-bundle.
func NewBundle(r *command.Env) *cobra.Command {
	o := bundleOptions{consent: command.Consent{Written: "the file"}}
	c := &cobra.Command{
		Use: "support-bundle FILE.tar.gz", Short: "Collect diagnostics into a file to pass on", Args: cobra.ExactArgs(1),
		Long: `Collect what doctor and status find, versions, the webhook's pods and logs, and
events into one file. Tokens and secrets are removed from it. The command lists
what is in it before it asks, and sends it nowhere.

Exit code: 0 written, 3 written without what you may not read, 1 failure.`,
		Annotations: map[string]string{command.Docs: "docs/doctor.md"},
		Example: `  azwi support-bundle azwi.tar.gz
  azwi support-bundle azwi.tar.gz --redact-ids --yes`,
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), r, args[0]) },
	}
	f := c.Flags()
	f.BoolVar(&o.redactIDs, "redact-ids", false, "replace each GUID by id-1, id-2 and so on")
	f.BoolVar(&o.dryRun, "dry-run", false, "list what would be in the file, and write none")
	f.Float64Var(&o.rate, "reads-per-second", readsPerSecond, "how many identities' credentials to read in a second; Azure takes 5")
	command.InGroup(f, command.OtherClouds, "reads-per-second")
	o.consent.Register(c)
	o.cluster.Register(c)
	o.azure.Register(c)
	return c
}

func (o *bundleOptions) run(ctx context.Context, r *command.Env, file string) error {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists already: name another file", file)
	}
	o.noToken = true
	config, err := o.config(ctx, r)
	if err != nil {
		return err
	}
	progress, done := identitiesRead(r)
	b, err := doctor.New(config).Bundle(ctx, doctor.BundleConfig{Version: version.String(), RedactIDs: o.redactIDs, Progress: progress})
	done()
	if err != nil {
		return err
	}
	size := 0
	for _, f := range b.Files {
		r.Out.Printf("%9d bytes  %s\n", len(f.Content), f.Name)
		size += len(f.Content)
	}
	printUnknown(r.Out, b.Missing)
	if !o.dryRun {
		if err := o.consent.Ask(ctx, r, fmt.Sprintf("Write these %s (%d bytes before compression) to %s?", command.Number(len(b.Files), "file"), size, file)); err != nil {
			return err
		}
		if err := write(file, b); err != nil {
			return err
		}
		r.Err.Printf("%s has them; look at it before you pass it on\n", file)
	}
	if b.Denied {
		return command.Exit(command.ExitNotPermitted, errors.New("parts are missing for lack of rights"))
	}
	return nil
}

func write(file string, b *doctor.Bundle) error {
	archive, err := b.Archive(time.Now())
	if err != nil {
		return err
	}
	return atomicfile.Write(file, archive, privateMode)
}
