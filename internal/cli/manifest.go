package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"azwi/internal/manifest"
)

// manifestOptions are the flags of all commands that read manifests.
type manifestOptions struct {
	files     []string
	recursive bool
	namespace string
}

func (o *manifestOptions) register(c *cobra.Command) {
	c.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("unexpected argument %q: name manifests with -f", args[0])
		}
		return nil
	}
	c.Flags().StringArrayVarP(&o.files, "filename", "f", nil, "file, folder, or - for standard input; repeatable")
	c.Flags().BoolVarP(&o.recursive, "recursive", "R", false, "look in folders below those named too")
	c.Flags().StringVarP(&o.namespace, "namespace", "n", "default", "namespace of objects that name none")
}

func (o *manifestOptions) read(stdin io.Reader) ([]*manifest.File, error) {
	if len(o.files) == 0 {
		return nil, errors.New("name the manifests with -f, or -f - to read standard input")
	}
	return manifest.Read(stdin, o.files, o.recursive)
}
