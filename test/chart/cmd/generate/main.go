// Command generate writes the files that are made from others: parts of the chart,
// and the manifests in deploy/. Run it by make generate.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"azwi/contract"
	"azwi/internal/install"
	"azwi/internal/token/entra"
)

const chartDir = "charts/workload-identity-webhook"

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stderr)) }

func run(ctx context.Context, args []string, stderr io.Writer) int {
	if len(args) != 1 {
		fmt.Fprintln(stderr, "usage: generate ROOT, the repository's folder")
		return 2
	}
	if err := write(ctx, args[0]); err != nil {
		fmt.Fprintln(stderr, "generate:", err)
		return 1
	}
	return 0
}

func write(ctx context.Context, root string) error {
	for _, generate := range []func(context.Context, string) ([]file, error){chartFiles, manifests} {
		files, err := generate(ctx, root)
		if err != nil {
			return err
		}
		if err := writeAll(root, files); err != nil {
			return err
		}
	}
	return nil
}

func writeAll(root string, files []file) error {
	for _, f := range files {
		name := filepath.Join(root, f.name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, f.data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A file is one that is generated, by its path below the repository's folder.
type file struct {
	name string
	data []byte
}

// chartFiles are parts of the chart.
func chartFiles(_ context.Context, root string) ([]file, error) {
	defaults, err := defaultValues(root)
	if err != nil {
		return nil, err
	}
	engine, err := policyTemplate()
	if err != nil {
		return nil, err
	}
	clouds, err := cloudHosts()
	if err != nil {
		return nil, err
	}
	schema, err := valuesSchema(root)
	if err != nil {
		return nil, err
	}
	known, err := knownKeys(schema)
	if err != nil {
		return nil, err
	}
	return []file{
		{chartDir + "/files/clouds.yaml", clouds},
		{chartDir + "/files/defaults.yaml", defaults},
		{chartDir + "/files/keys.yaml", known},
		{chartDir + "/templates/_settings.tpl", settingsTemplate()},
		{chartDir + "/templates/policy.yaml", engine},
		{chartDir + "/values.schema.json", schema},
	}, nil
}

// hostsByName has the token services by the clouds' names in capital letters.
func hostsByName() map[string]string {
	hosts := map[string]string{}
	for _, c := range entra.Clouds() {
		for _, name := range []string{c.Name, c.AzName} {
			hosts[strings.ToUpper(name)] = c.AuthorityHost
		}
	}
	return hosts
}

// cloudHosts has the token service of each cloud by its names, in capital letters.
func cloudHosts() ([]byte, error) {
	text, err := yaml.Marshal(hostsByName())
	return append([]byte("# Made by make generate from internal/token/entra.\n"), text...), err
}

// manifests are made from the chart as it lies there.
func manifests(ctx context.Context, root string) ([]file, error) {
	webhook, err := manifest(ctx, root, "webhook")
	if err != nil {
		return nil, err
	}
	policies, err := manifest(ctx, root, "policy")
	if err != nil {
		return nil, err
	}
	return []file{
		{"deploy/azure-wi-webhook.yaml", webhook},
		{"deploy/azure-wi-policy.yaml", policies},
	}, nil
}

// defaultValues are the values that the chart fills in where they are missing or
// null. Null removes the others, as there is a meaning to having none.
func defaultValues(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, chartDir, "values.yaml"))
	if err != nil {
		return nil, err
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		return nil, err
	}
	for _, name := range []string{"nodeSelector", "priorityClassName", "resources"} {
		delete(values, name)
	}
	text, err = yaml.Marshal(values)
	return append([]byte("# Made by make generate from values.yaml, which says what they mean.\n"), text...), err
}

// A schema is what of a JSON schema says which values there are.
type schema struct {
	Properties           map[string]schema
	AdditionalProperties any
	Deprecated           bool
}

// valueKeys are paths of values: those that the chart knows, those of them that have no
// other members than these, and those that are taken from other charts without effect.
type valueKeys struct {
	Known   []string `json:"known"`
	Closed  []string `json:"closed"`
	Ignored []string `json:"ignored"`
}

func (k *valueKeys) add(prefix string, s schema) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		member := s.Properties[name]
		k.Known = append(k.Known, prefix+name)
		if member.Deprecated {
			k.Ignored = append(k.Ignored, prefix+name)
		}
		if member.Properties != nil && member.AdditionalProperties == nil {
			k.Closed = append(k.Closed, prefix+name)
			k.add(prefix+name+".", member)
		}
	}
}

// knownKeys are those of the chart's schema.
func knownKeys(text []byte) ([]byte, error) {
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	var k valueKeys
	k.add("", s)
	text, err := yaml.Marshal(k)
	return append([]byte("# Made by make generate from values.schema.json.\n"), text...), err
}

// Values that stand for what envsubst puts in their place, as the chart refuses
// placeholders.
const (
	noTenant   = "00000000-0000-0000-0000-000000000000"
	noRegistry = "registry.invalid"
)

// manifest is the chart as files to apply, with places for the tenant, the cloud and
// the registry of the images.
func manifest(ctx context.Context, root, engine string) ([]byte, error) {
	version, err := appVersion(root)
	if err != nil {
		return nil, err
	}
	objects, _, err := install.Render(ctx, install.Release{
		Name: install.DefaultRelease, Namespace: install.DefaultNamespace, Version: version, Registry: noRegistry, Service: "kubectl",
		Chart:      os.DirFS(filepath.Join(root, chartDir)),
		Kubernetes: "v1.36.0", APIVersions: []string{"flowcontrol.apiserver.k8s.io/v1"},
		Values: map[string]any{"azureTenantID": noTenant, "engine": engine},
	})
	if err != nil {
		return nil, err
	}
	// As upstream's manifest selects them, since a Deployment's selector can't be changed.
	objects, err = install.Select(objects, map[string]any{"azure-workload-identity.io/system": "true"})
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		// For two replicas the default is the same. To kubectl apply --server-side, what the
		// API server filled in where upstream's manifest says nothing is somebody's choice.
		if spec, ok := o["spec"].(map[string]any); ok && o.Kind() == "Deployment" {
			delete(spec, "strategy")
		}
	}
	text, err := install.YAML(append([]install.Object{install.NewNamespace(install.DefaultNamespace, false)}, objects...))
	if err != nil {
		return nil, err
	}
	public := entra.Clouds()[0]
	hosts, err := celHosts()
	if err != nil {
		return nil, err
	}
	text = []byte(strings.NewReplacer(
		// So that applying this leaves upstream's pods their rights until they are gone.
		"azure-wi-webhook-manager-rolebinding", "azure-wi-webhook", "azure-wi-webhook-manager-role", "azure-wi-webhook",
		noTenant, "${AZURE_TENANT_ID}", noRegistry, "${AZWI_IMAGE_REGISTRY}",
		contract.EnvEnvironment+": "+public.Name, contract.EnvEnvironment+`: "${AZURE_ENVIRONMENT}"`,
		strconv.Quote(public.AuthorityHost), hosts,
	).Replace(string(text)))
	header := fmt.Sprintf(`# Made by make generate from the chart, engine %s. Put your tenant and the registry that has the images in their
# places, and your cloud, if it is not AzurePublicCloud:
#   export AZURE_TENANT_ID=... AZWI_IMAGE_REGISTRY=registry.example.com AZURE_ENVIRONMENT=
#   envsubst < FILE | kubectl apply --server-side -f -
`, engine)
	if engine == "webhook" {
		header += `# Over upstream's manifest: apply it in the same way as that one. Once the new pods are ready, remove what only the
# former ones needed; docs/install.md has the commands.
`
	}
	return append([]byte(header), text...), nil
}

// celHosts is an expression for the token service of the cloud that AZURE_ENVIRONMENT
// names; pods are denied if it names none.
func celHosts() (string, error) {
	hosts := hostsByName()
	hosts[""] = entra.Clouds()[0].AuthorityHost
	table, err := json.Marshal(hosts)
	return string(table) + `["${AZURE_ENVIRONMENT}".upperAscii()]`, err
}

func appVersion(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, chartDir, "Chart.yaml"))
	if err != nil {
		return "", err
	}
	var c struct{ AppVersion string }
	if err := yaml.Unmarshal(text, &c); err != nil {
		return "", err
	}
	if strings.TrimSpace(c.AppVersion) == "" {
		return "", errors.New("the chart has no appVersion")
	}
	return c.AppVersion, nil
}
