package podidentity

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"azwi/contract"
	"azwi/internal/cli/command"
	"azwi/internal/cli/connect"
	"azwi/internal/guid"
	"azwi/internal/kube"
	"azwi/internal/migrate"
	"azwi/internal/version"
)

// New makes the command.
func New(r *command.Env) *cobra.Command {
	c := &cobra.Command{
		Use: "podidentity", Aliases: []string{"pi"}, Args: cobra.NoArgs,
		Short:       "Migrate from aad-pod-identity",
		Annotations: map[string]string{command.Docs: "docs/migration.md"},
	}
	c.AddCommand(newPodIdentityDetect(r))
	return c
}

// detectOptions are the flags of azwi podidentity detect.
type detectOptions struct {
	cluster         connect.Cluster
	settings        command.SettingsFlags
	namespace       string
	all             bool
	outputDir       string
	output          string
	proxyPort       int
	proxyContainers bool
	expiration      time.Duration
	tenantID        string
}

func newPodIdentityDetect(r *command.Env) *cobra.Command {
	var o detectOptions
	c := &cobra.Command{
		Use: "detect -o FOLDER", Short: "Write manifests that replace aad-pod-identity's objects", Args: command.NoArguments,
		Long: `Write manifests that replace aad-pod-identity's objects.

Exit code: 0 done, 1 failure, or something needs a decision.`,
		Example: `  azwi podidentity detect -n shop -o migration
  azwi podidentity detect -A -o migration --proxy-containers=false
  kubectl apply -R -f migration`,
		RunE: func(c *cobra.Command, _ []string) error { return detect(c.Context(), o, r) },
	}
	o.cluster.Register(c)
	c.Flags().StringVarP(&o.namespace, "namespace", "n", "default", "namespace to look in")
	c.Flags().BoolVarP(&o.all, "all-namespaces", "A", false, "look in all namespaces, and write a folder for each")
	c.Flags().StringVarP(&o.outputDir, "output-dir", "o", "", "folder for the manifests; created if it does not exist")
	c.Flags().StringVar(&o.output, "output", "text", "format of the report: text, json or yaml")
	c.Flags().IntVarP(&o.proxyPort, "proxy-port", "p", contract.DefaultProxyPort, "port of the proxy")
	c.Flags().BoolVar(&o.proxyContainers, "proxy-containers", true, "also write the proxy's containers")
	c.Flags().DurationVar(&o.expiration, "service-account-token-expiration", time.Duration(contract.DefaultTokenExpiration)*time.Second, "lifetime of the service account tokens, from 1h to 24h")
	c.Flags().StringVar(&o.tenantID, "tenant-id", "", "tenant of the identities, if it is not the webhook's")
	o.settings = command.Settings(c)
	command.Complete(c, "output", "text", "json", "yaml")
	o.cluster.CompleteNames(c)
	c.MarkFlagsMutuallyExclusive("namespace", "all-namespaces")
	return c
}

func detect(ctx context.Context, o detectOptions, r *command.Env) error {
	config, err := o.config(r.Getenv)
	if err != nil {
		return err
	}
	api, err := o.cluster.Connect(r)
	if err != nil {
		return err
	}
	config.API = api
	if config.Settings.Proxy.NativeSidecar, err = api.AtLeast(ctx, contract.NativeSidecarMinor); err != nil {
		return err
	}
	plan, err := migrate.Detect(ctx, config)
	if err != nil {
		return err
	}
	files, err := plan.Files(o.all)
	if err != nil {
		return err
	}
	if len(files)+len(plan.LeftOut) == 0 {
		if err := namespaceThere(ctx, api, config.Namespace); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := writable(o.outputDir, f.Path); err != nil {
			return err
		}
	}
	for _, f := range files {
		name := filepath.Join(o.outputDir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, f.Text, 0o644); err != nil {
			return err
		}
	}
	report := newDetectReport(plan, files, o.outputDir)
	if err := r.Print(o.output, report, func() { report.text(r) }); err != nil {
		return err
	}
	for _, note := range plan.Notes {
		r.Err.Printf("note: %s\n", note.Text())
	}
	for _, l := range plan.LeftOut {
		r.Err.Printf("left out: %s %s/%s: %s\n", l.Kind, l.Namespace, l.Name, l.Reason.Text())
	}
	if n := len(plan.LeftOut); n > 0 {
		return fmt.Errorf("workloads left out: %d; everything else is written", n)
	}
	return nil
}

// namespaceThere is the error if a namespace that was named is known not to exist.
func namespaceThere(ctx context.Context, api *kube.Client, name string) error {
	if name == "" || !kube.IsNotFound(api.Read(ctx, kube.Ref{APIVersion: "v1", Kind: "Namespace", Name: name}, nil)) {
		return nil
	}
	return api.NoNamespace(ctx, name).Err(nil)
}

// writable is the error if what is there makes it impossible to write a file below a
// folder; what the file system's rights forbid shows at the write only.
func writable(dir, file string) error {
	name := filepath.Join(dir, filepath.FromSlash(file))
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("nothing is written: %s exists and is not a regular file", name)
	}
	for folder := filepath.Dir(name); ; folder = filepath.Dir(folder) {
		info, err := os.Stat(folder)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("nothing is written: %s exists and is not a folder", folder)
		}
		if err == nil || folder == filepath.Dir(folder) {
			return nil
		}
	}
}

func (o *detectOptions) config(getenv func(string) string) (migrate.Config, error) {
	c := migrate.Config{Namespace: o.namespace, ProxyContainers: o.proxyContainers, ProxyPort: o.proxyPort, TenantID: o.tenantID}
	if o.all {
		c.Namespace = ""
	}
	var mistakes []error
	if o.outputDir == "" {
		mistakes = append(mistakes, errors.New("--output-dir is required: the folder to write the manifests to"))
	}
	mistakes = append(mistakes, command.CheckOutput(o.output))
	if o.tenantID != "" && !guid.Valid(o.tenantID) {
		mistakes = append(mistakes, fmt.Errorf("--tenant-id %q: want the tenant's ID, a GUID", o.tenantID))
	}
	if o.proxyPort < 1 || o.proxyPort > 65535 {
		mistakes = append(mistakes, fmt.Errorf("--proxy-port %d: use 1 to 65535", o.proxyPort))
	}
	seconds := int64(o.expiration.Round(time.Second) / time.Second)
	if seconds < contract.MinTokenExpiration || seconds > contract.MaxTokenExpiration {
		mistakes = append(mistakes, fmt.Errorf("--service-account-token-expiration %s: use 1h to 24h", o.expiration))
	}
	if seconds != contract.DefaultTokenExpiration {
		c.TokenExpiration = seconds
	}
	var err error
	c.Settings, err = o.settings.Settings(func(name string) string {
		// No tenant is written into workloads: the webhook adds its own.
		if value := getenv(name); value != "" || name != contract.EnvTenantID {
			return value
		}
		return "none"
	}, version.Image(contract.ProxyImageName))
	switch {
	case c.Settings.Proxy.Image != "":
	case o.proxyContainers:
		mistakes = append(mistakes, fmt.Errorf("%s is required: set it to the image of the proxy, REGISTRY/%s:TAG, or leave the proxy's containers to the webhook with --proxy-containers=false", contract.EnvProxyImage, contract.ProxyImageName))
	default:
		c.Settings.Proxy.Image = contract.ProxyImageName // to check workloads by injecting; it is not written
	}
	return c, errors.Join(append(mistakes, err)...)
}

// detectReport is azwi podidentity detect --output json; docs/schema/podidentity-detect.json
// describes it.
type detectReport struct {
	Written []detectFile    `json:"written"`
	LeftOut []detectLeftOut `json:"leftOut"`
	Notes   []string        `json:"notes"`
}

type detectFile struct {
	File      string `json:"file"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Account of a workload.
	Account    string `json:"serviceAccount,omitempty"`
	Identity   string `json:"azureIdentity"`
	ClientID   string `json:"clientID"`
	ResourceID string `json:"resourceID,omitempty"`
	TenantID   string `json:"tenantID,omitempty"`
	// Subject to federate the identity of a service account with.
	Subject string `json:"subject,omitempty"`
}

type detectLeftOut struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Reason    string `json:"reason"`
}

func newDetectReport(plan *migrate.Plan, files []migrate.File, dir string) detectReport {
	report := detectReport{Written: []detectFile{}, LeftOut: []detectLeftOut{}, Notes: []string{}}
	for _, f := range files {
		one := detectFile{File: filepath.Join(dir, filepath.FromSlash(f.Path))}
		identity := migrate.Identity{}
		if a := f.Account; a != nil {
			one.Kind, one.Namespace, one.Name, one.Subject, identity = "ServiceAccount", a.Namespace, a.Name, contract.Subject(a.Namespace, a.Name), a.Identity
		} else {
			w := f.Workload
			one.Kind, one.Namespace, one.Name, one.Account, identity = w.Kind, w.Namespace, w.Name, w.Account, w.Identity
		}
		one.Identity, one.ClientID, one.ResourceID, one.TenantID = identity.Name, identity.ClientID, identity.ResourceID, identity.TenantID
		report.Written = append(report.Written, one)
	}
	for _, l := range plan.LeftOut {
		report.LeftOut = append(report.LeftOut, detectLeftOut{l.Kind, l.Namespace, l.Name, l.Reason.Text()})
	}
	for _, note := range plan.Notes {
		report.Notes = append(report.Notes, note.Text())
	}
	return report
}

func (d detectReport) text(r *command.Env) {
	if len(d.Written)+len(d.LeftOut) == 0 {
		r.Out.Printf("nothing here uses aad-pod-identity: no workload has the label aadpodidbinding\n")
		return
	}
	for _, f := range d.Written {
		r.Out.Printf("%s: %s %s/%s\n", f.File, f.Kind, f.Namespace, f.Name)
	}
	r.Out.Printf("\nNext:\n1. Install the webhook, if it is not there.\n2. Federate these identities:\n")
	for _, f := range d.Written {
		if f.Subject == "" {
			continue
		}
		id := f.ResourceID
		if id == "" {
			id = "application " + f.ClientID
		}
		r.Out.Printf("   %s with %s\n", id, f.Subject)
	}
	r.Out.Printf("3. Review the files and apply them: kubectl apply -f FOLDER. For folders named replace, use kubectl replace --force -f instead.\n")
}
