package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"azwi/internal/pod/manifest"
	kinds "azwi/internal/pod/workload"
)

// manifestOptions are the flags of all commands that read manifests.
type manifestOptions struct {
	files     []string
	recursive bool
	namespace string
	kinds     string
}

func (o *manifestOptions) register(c *cobra.Command) {
	c.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("unexpected argument %q: name manifests with -f", args[0])
		}
		return nil
	}
	c.Flags().StringArrayVarP(&o.files, "filename", "f", nil, "file, folder, or - for standard input; repeatable")
	c.Flags().BoolVarP(&o.recursive, "recursive", "R", false, "also read subfolders")
	c.Flags().StringVar(&o.kinds, "kinds", "", "file of kinds that azwi doesn't know: where their pod templates or pods' metadata are (docs/lint.md)")
	c.Flags().StringVarP(&o.namespace, "namespace", "n", "default", "namespace of objects that name none")
}

func (o *manifestOptions) read(stdin io.Reader) ([]*manifest.File, error) {
	if len(o.files) == 0 {
		return nil, errors.New("name the manifests with -f, or -f - to read standard input")
	}
	return manifest.Read(stdin, o.files, o.recursive)
}

// shapes are the kinds that azwi knows, after those of --kinds.
func (o *manifestOptions) shapes() (kinds.Shapes, error) {
	if o.kinds == "" {
		return kinds.Known(), nil
	}
	text, err := readFile(o.kinds)
	if err != nil {
		return nil, fmt.Errorf("--kinds: %w", err)
	}
	given, err := kinds.ReadShapes(o.kinds, text)
	return append(given, kinds.Known()...), err
}

// readFile reads a file that a flag names; a mebibyte is more than any needs.
func readFile(path string) ([]byte, error) {
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
