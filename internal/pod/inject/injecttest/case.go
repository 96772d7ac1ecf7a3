package injecttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"azwi/internal/pod/inject"
)

// A Case is one txtar file: pod.yaml, account.yaml (annotations and labels) and
// settings.yaml (what differs from Settings) in, want out.
type Case struct {
	// Name is the file's, without its extension.
	Name string
	// Pod is JSON.
	Pod []byte
	// Account is shop/orders unless the case says otherwise.
	Account  inject.Account
	Settings inject.Settings
	// Want is the patch, one operation a line, and the warnings or the denial.
	Want string

	file    string
	archive *txtar.Archive
}

// Settings are those of a cluster that sets what upstream's chart requires.
func Settings() inject.Settings {
	return inject.Settings{
		TenantID:      "11111111-1111-1111-1111-111111111111",
		AuthorityHost: "https://login.microsoftonline.com/",
		Proxy:         inject.Proxy{Image: "azwi/proxy:v1", NativeSidecar: true},
	}
}

// Cases reads all cases of a folder, usually internal/pod/inject/testdata. There being
// none is an error.
func Cases(dir string) ([]*Case, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no golden cases in %s", dir)
	}
	cases := make([]*Case, len(files))
	for i, file := range files {
		if cases[i], err = read(file); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return cases, nil
}

func read(file string) (*Case, error) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		return nil, err
	}
	c := &Case{
		Name: strings.TrimSuffix(filepath.Base(file), ".txtar"), file: file, archive: archive,
		Account: inject.Account{Namespace: "shop", Name: "orders"}, Settings: Settings(),
	}
	for _, f := range archive.Files {
		var err error
		switch f.Name {
		case "pod.yaml":
			c.Pod, err = yaml.YAMLToJSON(f.Data)
		case "account.yaml":
			err = yaml.UnmarshalStrict(f.Data, &c.Account)
		case "settings.yaml":
			err = yaml.UnmarshalStrict(f.Data, &c.Settings)
		case "want":
			c.Want = string(f.Data)
		default:
			err = fmt.Errorf("unknown file")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return c, nil
}

// Accept writes want into the case's file.
func (c *Case) Accept(want string) error {
	for i := range c.archive.Files {
		if c.archive.Files[i].Name == "want" {
			c.archive.Files[i].Data = []byte(want)
			return os.WriteFile(c.file, txtar.Format(c.archive), 0o644)
		}
	}
	c.archive.Files = append(c.archive.Files, txtar.File{Name: "want", Data: []byte(want)})
	return os.WriteFile(c.file, txtar.Format(c.archive), 0o644)
}
