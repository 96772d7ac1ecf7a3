package cli

import (
	"errors"
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
