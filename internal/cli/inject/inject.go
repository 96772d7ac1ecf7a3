package inject

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"azwi/contract"
	"azwi/internal/admission/account"
	"azwi/internal/cli/command"
	"azwi/internal/cli/connect"
	"azwi/internal/cli/manifests"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/injector"
)

// injectOptions are the flags of azwi inject.
type injectOptions struct {
	manifests.Options
	injection     command.InjectionFlags
	nativeSidecar bool
	clientID      string
	tenantID      string
	fromCluster   bool
	cluster       connect.Cluster
}

// New makes the command.
func New(r *command.Env) *cobra.Command {
	var o injectOptions
	c := &cobra.Command{
		Use: "inject -f FILE|FOLDER|-", Short: "Inject into manifests what the webhook injects into pods",
		Long: `Inject into manifests what the webhook injects into pods, and print them.

Exit code: 0 done, 1 failure; then nothing is printed.`,
		Annotations: map[string]string{command.Docs: "docs/inject.md"},
		Example: `  azwi inject -f deploy/ | kubectl apply -f -
  helm template shop ./chart | azwi inject -f - -n shop > shop.yaml
  kubectl get deployment orders -o yaml | azwi inject -f - --from-cluster`,
		RunE: func(c *cobra.Command, _ []string) error { return injectManifests(c.Context(), o, r) },
	}
	o.Register(c)
	c.Flags().BoolVar(&o.nativeSidecar, "native-sidecar", true, "make the proxy a native sidecar, as the webhook does on Kubernetes 1.32 and later")
	c.Flags().StringVar(&o.clientID, "client-id", "", "client ID of service accounts that are not in the input")
	c.Flags().StringVar(&o.tenantID, "tenant-id", "", "tenant of service accounts that name none (default $AZURE_TENANT_ID); with --client-id, of those that are not in the input")
	c.Flags().BoolVar(&o.fromCluster, "from-cluster", false, "read service accounts that are not in the input from the cluster")
	o.injection.Register(c)
	o.cluster.Register(c)
	o.cluster.CompleteNames(c)
	return c
}

func injectManifests(ctx context.Context, o injectOptions, r *command.Env) error {
	files, err := o.Read(r.In)
	if err != nil {
		return err
	}
	config, err := o.config(r)
	if err != nil {
		return err
	}
	if config.Kinds, err = o.Shapes(); err != nil {
		return err
	}
	result, err := injector.Inject(ctx, files, config)
	for _, note := range result.Notes {
		r.Err.Printf("%s\n", note)
	}
	if errors.Is(err, account.ErrNotFound) && config.Accounts == nil {
		return fmt.Errorf("%w\nname the service account's manifest with -f too, say its client ID with --client-id, or use --from-cluster", err)
	}
	if err != nil {
		return err
	}
	if result.OptedIn == 0 {
		r.Err.Printf("note: nothing to inject: no pod template has the label %s: %q\n", contract.UseLabel, contract.UseLabelValue)
	}
	_, err = r.Data.Write(result.Text)
	return err
}

func (o *injectOptions) config(r *command.Env) (injector.Config, error) {
	c := injector.Config{Namespace: o.Namespace}
	var mistakes []error
	var err error
	if c.Settings, err = o.injection.Read(o.getenv(r.Getenv)); err != nil {
		mistakes = append(mistakes, err)
	}
	c.Settings.Proxy.NativeSidecar = o.nativeSidecar
	cluster := o.fromCluster || o.cluster.Kubeconfig != "" || o.cluster.Context != ""
	switch {
	case o.clientID != "" && cluster:
		mistakes = append(mistakes, errors.New("--client-id and --from-cluster exclude each other: both say what a service account holds that is not in the input"))
	case o.clientID != "":
		c.Accounts = givenAccount{o.clientID, o.tenantID}
	case cluster:
		api, err := o.cluster.Connect(r)
		if err != nil {
			return c, errors.Join(append(mistakes, err)...)
		}
		if c.Accounts, err = account.NewReader(account.Config{Client: api.HTTP, Host: api.Host}); err != nil {
			return c, err
		}
	}
	return c, errors.Join(mistakes...)
}

// getenv has the tenant of --tenant-id, unless that is for the accounts of --client-id and
// the environment has one for the others.
func (o *injectOptions) getenv(environment func(string) string) func(string) string {
	return func(name string) string {
		value := environment(name)
		if name == contract.EnvTenantID && o.tenantID != "" && (o.clientID == "" || value == "") {
			value = o.tenantID
		}
		return value
	}
}

// givenAccount is every service account: the flags say what it holds.
type givenAccount struct{ clientID, tenantID string }

func (g givenAccount) Get(_ context.Context, namespace, name string) (inject.Account, error) {
	a := inject.Account{Namespace: namespace, Name: name, Annotations: map[string]string{contract.ClientIDAnnotation: g.clientID}}
	if g.tenantID != "" {
		a.Annotations[contract.TenantIDAnnotation] = g.tenantID
	}
	return a, nil
}
