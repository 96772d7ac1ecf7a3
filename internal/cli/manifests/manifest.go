package manifests

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"azwi/internal/pod/manifest"
	kinds "azwi/internal/pod/workload"
)

// Options are the flags of all commands that read manifests.
type Options struct {
	files     []string
	recursive bool
	Namespace string
	kinds     string
}

// Register adds the flags.
func (o *Options) Register(c *cobra.Command) {
	c.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("unexpected argument %q: name manifests with -f", args[0])
		}
		return nil
	}
	c.Flags().StringArrayVarP(&o.files, "filename", "f", nil, "file, folder, or - for standard input; repeatable")
	c.Flags().BoolVarP(&o.recursive, "recursive", "R", false, "also read subfolders")
	c.Flags().StringVar(&o.kinds, "kinds", "", "file of kinds that azwi doesn't know: where their pod templates or pods' metadata are (docs/lint.md)")
	c.Flags().StringVarP(&o.Namespace, "namespace", "n", "default", "namespace of objects that name none")
}

func (o *Options) Read(stdin io.Reader) ([]*manifest.File, error) {
	if len(o.files) == 0 {
		return nil, errors.New("name the manifests with -f, or -f - to read standard input")
	}
	return manifest.Read(stdin, o.files, o.recursive)
}

// Shapes are the kinds that azwi knows, after those of --kinds.
func (o *Options) Shapes() (kinds.Shapes, error) {
	if o.kinds == "" {
		return kinds.Known(), nil
	}
	text, err := ReadFile(o.kinds)
	if err != nil {
		return nil, fmt.Errorf("--kinds: %w", err)
	}
	given, err := kinds.ReadShapes(o.kinds, text)
	return append(given, kinds.Known()...), err
}

// ReadFile reads a file that a flag names; a mebibyte is more than any needs.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("%s: larger than 1 MiB", path)
	}
	return text, err
}
