package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
	"azwi/internal/cli/connect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"azwi/internal/kube"
	"azwi/internal/pod/policy"
	"azwi/internal/version"
)

// New makes the command.
func New(r *command.Env) *cobra.Command {
	c := &cobra.Command{
		Use: "policy", Short: "Inject by the API server's admission policies", Args: cobra.NoArgs,
		Annotations: map[string]string{command.Docs: "docs/policy.md"},
	}
	c.AddCommand(newPolicyGenerate(r), newPolicyVerify(r))
	return c
}

// policyOptions are the flags of all commands on policies.
type policyOptions struct {
	injection        command.InjectionFlags
	name             string
	labelledAccounts bool
	namespaces       string
}

func (o *policyOptions) register(c *cobra.Command) {
	o.injection.Register(c)
	c.Flags().StringVar(&o.name, "name", policy.DefaultName, "name of the policies and bindings")
	c.Flags().BoolVar(&o.labelledAccounts, "labelled-accounts", false, "inject only for service accounts with the label azure.workload.identity/use=true; faster in namespaces with hundreds of accounts")
	c.Flags().StringVar(&o.namespaces, "namespace-selector", "", "label selector of the namespaces where the policies apply (default all)")
}

func (o *policyOptions) config(getenv func(string) string) (policy.Config, error) {
	c := policy.Config{Name: o.name, LabelledAccounts: o.labelledAccounts, Version: version.String()}
	var mistakes []error
	var err error
	if c.Settings, err = o.injection.Read(getenv); err != nil {
		mistakes = append(mistakes, err)
	}
	// Every API server with these policies, and every kubelet that it supports,
	// knows native sidecars.
	c.Settings.Proxy.NativeSidecar = true
	// The names of the other policies are longer by a word.
	if reasons := validation.IsDNS1123Subdomain(o.name + "-warnings"); len(reasons) > 0 {
		mistakes = append(mistakes, fmt.Errorf("--name %q: %s", o.name, strings.Join(reasons, "; ")))
	}
	if o.namespaces != "" {
		if c.Namespaces, err = selector(o.namespaces); err != nil {
			mistakes = append(mistakes, fmt.Errorf("--namespace-selector: %w", err))
		}
	}
	return c, errors.Join(mistakes...)
}

func selector(text string) (*policy.Selector, error) {
	parsed, err := metav1.ParseToLabelSelector(text)
	if err != nil {
		return nil, err
	}
	s := policy.Selector{MatchLabels: parsed.MatchLabels}
	for _, e := range parsed.MatchExpressions {
		s.MatchExpressions = append(s.MatchExpressions, policy.SelectorRequirement{Key: e.Key, Operator: string(e.Operator), Values: e.Values})
	}
	return &s, nil
}

func newPolicyGenerate(r *command.Env) *cobra.Command {
	var o policyOptions
	c := &cobra.Command{
		Use: "generate", Short: "Print the policies and bindings as YAML", Args: cobra.NoArgs,
		Example: `  azwi policy generate | kubectl apply -f -
  azwi policy generate --namespace-selector team=shop`,
		RunE: func(*cobra.Command, []string) error { return generatePolicy(o, r) },
	}
	o.register(c)
	return c
}

func generatePolicy(o policyOptions, r *command.Env) error {
	config, err := o.config(r.Getenv)
	if err != nil {
		return err
	}
	objects, err := policy.Generate(config)
	if err != nil {
		return err
	}
	text, err := config.YAML(objects)
	if err != nil {
		return err
	}
	_, err = r.Data.Write(text)
	return err
}

func newPolicyVerify(r *command.Env) *cobra.Command {
	var o policyOptions
	var cluster connect.Cluster
	c := &cobra.Command{
		Use: "verify", Short: "Compare the installed policies with the generated ones", Args: cobra.NoArgs,
		Long: `Compare the installed policies with the generated ones, with the same flags.

Exit code: 0 no difference, 2 differences, 1 failure.`,
		Example: `  azwi policy verify --context staging`,
		RunE: func(c *cobra.Command, _ []string) error {
			return verifyPolicy(c.Context(), o, cluster, r)
		},
	}
	o.register(c)
	cluster.Register(c)
	return c
}

func verifyPolicy(ctx context.Context, o policyOptions, cluster connect.Cluster, r *command.Env) error {
	config, err := o.config(r.Getenv)
	if err != nil {
		return err
	}
	objects, err := policy.Generate(config)
	if err != nil {
		return err
	}
	api, err := cluster.Connect(r)
	if err != nil {
		return err
	}
	wanted := make([]kube.Wanted, len(objects))
	for i, object := range objects {
		wanted[i] = kube.Wanted{
			Ref: kube.Ref{APIVersion: object.APIVersion, Kind: object.Kind, Name: object.Metadata.Name},
			Differences: func(_ context.Context, installed map[string]any) ([]string, error) {
				return object.Differences(installed)
			},
		}
	}
	var differences []string
	for found := range api.Walk(ctx, wanted) {
		switch {
		case found.Err != nil:
			return found.Err
		case found.State == kube.Missing:
			differences = append(differences, found.Ref.String()+": not installed")
		}
		differences = append(differences, found.Differences...)
	}
	for _, d := range differences {
		r.Out.Printf("%s\n", d)
	}
	if len(differences) > 0 {
		return command.Exit(command.ExitDifferent, errors.New(command.Number(len(differences), "difference")))
	}
	r.Out.Printf("%d objects are as generated\n", len(objects))
	return nil
}
