package migrate

import (
	"fmt"
	"path"
	"strings"

	"sigs.k8s.io/yaml"

	"azwi/contract"
)

// A File is one manifest to write.
type File struct {
	// Path below the output folder, with slashes.
	Path string
	// Text is YAML.
	Text []byte
	// Account or Workload is what it holds; the other one is nil.
	Account  *Account
	Workload *Workload
}

// Files are the plan as files, accounts first: NAME-serviceaccount.yaml and
// NAME.yaml. A name that is taken gets the kind added, so that no two owners share a
// file. In folders by namespace if byNamespace is set; what can't be applied over
// what is there is in a folder replace.
func (p *Plan) Files(byNamespace bool) ([]File, error) {
	var files []File
	taken := map[string]bool{}
	add := func(namespace, kind string, names []string, object map[string]any, f File, comments ...string) error {
		for _, name := range names {
			if err := checkName(namespace, name); err != nil {
				return err
			}
		}
		folder := ""
		if byNamespace {
			folder = namespace
		}
		if f.Workload != nil && f.Workload.Replace {
			folder = path.Join(folder, "replace")
		}
		for _, name := range names {
			f.Path = path.Join(folder, name+".yaml")
			if !taken[f.Path] {
				break
			}
		}
		if taken[f.Path] {
			return fmt.Errorf("%s %s: its file %s is taken", kind, namespace, f.Path)
		}
		taken[f.Path] = true
		body, err := yaml.Marshal(object)
		if err != nil {
			return err
		}
		f.Text = []byte("# " + strings.Join(comments, "\n# ") + "\n" + string(body))
		files = append(files, f)
		return nil
	}
	for i := range p.Accounts {
		a := &p.Accounts[i]
		err := add(a.Namespace, "ServiceAccount", []string{a.Name + "-serviceaccount"}, a.Object, File{Account: a},
			"Written by azwi podidentity detect from AzureIdentity "+a.Identity.Name+".",
			"Its identity needs a federated credential for the subject "+contract.Subject(a.Namespace, a.Name)+".")
		if err != nil {
			return nil, err
		}
	}
	for i := range p.Workloads {
		w := &p.Workloads[i]
		comments := []string{"Written by azwi podidentity detect; uses AzureIdentity " + w.Identity.Name + "."}
		if w.Replace {
			comments = append(comments, "The pods of a "+w.Kind+" can't be changed in place: kubectl replace --force -f deletes and creates it.")
		}
		if w.Kind == "ReplicaSet" || w.Kind == "ReplicationController" {
			comments = append(comments, "Pods that a "+w.Kind+" has made keep what they have: delete them once this is applied.")
		}
		kind := strings.ToLower(w.Kind)
		if err := add(w.Namespace, w.Kind, []string{w.Name, w.Name + "-" + kind, kind + "-" + w.Name + "-" + kind}, w.Object, File{Workload: w}, comments...); err != nil {
			return nil, err
		}
	}
	return files, nil
}
