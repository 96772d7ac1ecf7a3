package installation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"azwi/internal/finding"
	"azwi/internal/install"

	"github.com/spf13/cobra"
	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"

	"azwi/internal/cli/command"
	"azwi/internal/cli/connect"
	"azwi/internal/terminal"
	"azwi/internal/version"
)

// installOptions are the flags of install and upgrade.
type installOptions struct {
	cluster                           connect.Cluster
	namespace, engine, probeNamespace string
	tenantID, environment             string
	files, set, setString             []string
	registry                          string
	resetValues, takeOver             bool
	wait                              bool
	timeout                           time.Duration
	dryRun                            dryRun
	orInstall                         bool
	upgrade                           bool
}

func (o *installOptions) register(c *cobra.Command) {
	o.cluster.Register(c)
	fs := c.Flags()
	fs.StringVarP(&o.namespace, "namespace", "n", "", "namespace to install into (default "+install.DefaultNamespace+", or where it is)")
	fs.StringVar(&o.engine, "engine", "", "webhook, policy (admission policies in the API server, Kubernetes 1.36 and later) or auto: policy where the API server has it (default what is installed, else webhook)")
	command.Complete(c, "engine", install.EngineWebhook, install.EnginePolicy, install.EngineAuto)
	fs.StringVar(&o.tenantID, "tenant-id", "", "ID of your Microsoft Entra tenant (default $AZURE_TENANT_ID); the chart's azureTenantID")
	fs.StringVar(&o.environment, "azure-env", "", "Azure cloud; the chart's azureEnvironment")
	fs.StringVar(&o.registry, "image-registry", "", "registry that has azwi/webhook and azwi/proxy, such as registry.example.com/team (required, unless the values name it); the chart's global.imageRegistry")
	fs.StringSliceVarP(&o.files, "values", "f", nil, "file of the chart's values; may be repeated")
	fs.StringArrayVar(&o.set, "set", nil, "set a value of the chart, such as replicaCount=3; may be repeated")
	fs.StringArrayVar(&o.setString, "set-string", nil, "like --set, but the value is always text")
	fs.BoolVar(&o.takeOver, "take-over", false, "take over an installation made with Helm or kubectl")
	fs.BoolVar(&o.wait, "wait", true, "wait until a pod is injected (dry run)")
	fs.DurationVar(&o.timeout, "timeout", 3*time.Minute, "how long to wait; then the exit code is 4")
	fs.StringVar(&o.probeNamespace, "probe-namespace", "", "namespace of the pod that is tried out (default --namespace; needed where a namespace selector leaves that out)")
	fs.Var(&o.dryRun, "dry-run", map[bool]string{
		false: "print the objects as YAML and apply nothing; client does not ask a cluster either",
		true:  "print what would change and apply nothing",
	}[o.upgrade])
	fs.Lookup("dry-run").NoOptDefVal = string(dryRunServer)
	command.Complete(c, "dry-run", string(dryRunServer), string(dryRunClient))
}

// NewInstall makes azwi install.
func NewInstall(r *command.Env) *cobra.Command {
	var o installOptions
	c := &cobra.Command{
		Use: "install", Short: "Install azwi into a cluster", Args: cobra.NoArgs,
		Long: `Install azwi into a cluster, and wait until a pod is injected.

Exit code: 0 it works, 1 failure, 4 it does not work in time.`,
		Example: `  azwi install --tenant-id $TENANT --image-registry registry.example.com
  azwi install -f values.yaml --engine policy --dry-run`,
		Annotations: map[string]string{command.Docs: "docs/install.md"},
		RunE:        func(c *cobra.Command, _ []string) error { return run(c.Context(), r, o) },
	}
	o.register(c)
	return c
}

// NewUpgrade makes azwi upgrade.
func NewUpgrade(r *command.Env) *cobra.Command {
	o := installOptions{upgrade: true}
	c := &cobra.Command{
		Use: "upgrade", Short: "Upgrade azwi in a cluster, or change its values or engine", Args: cobra.NoArgs,
		Long: `Upgrade azwi in a cluster, or change its values or engine.

Exit code: 0 it works, 1 failure, 4 it does not work in time.`,
		Example: `  azwi upgrade --set replicaCount=3
  azwi upgrade --engine policy`,
		Annotations: map[string]string{command.Docs: "docs/install.md"},
		RunE:        func(c *cobra.Command, _ []string) error { return run(c.Context(), r, o) },
	}
	o.register(c)
	c.Flags().BoolVar(&o.resetValues, "reset-values", false, "discard the values of the installation")
	c.Flags().BoolVar(&o.orInstall, "install", false, "install azwi if it is not installed")
	return c
}

// NewUninstall makes azwi uninstall.
func NewUninstall(r *command.Env) *cobra.Command {
	var cluster connect.Cluster
	var consent command.Consent
	var dryRun bool
	c := &cobra.Command{
		Use: "uninstall", Short: "Remove azwi from a cluster", Args: cobra.NoArgs,
		Long: `Remove azwi from a cluster. Running pods keep their identity; new ones get none.
It shows what it removes and asks first; scripts give --yes.`,
		Example: `  azwi uninstall --dry-run
  azwi uninstall --context staging`,
		Annotations: map[string]string{command.Docs: "docs/install.md"},
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := cluster.Connect(r)
			if err != nil {
				return err
			}
			removal, err := install.PlanRemoval(c.Context(), client)
			if err != nil {
				return err
			}
			return uninstall(c.Context(), r, removal, consent, dryRun)
		},
	}
	cluster.Register(c)
	consent.Register(c)
	c.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be removed, and remove nothing")
	return c
}

// uninstall shows what goes, asks, and tells how to undo it.
func uninstall(ctx context.Context, r *command.Env, removal *install.Removal, consent command.Consent, dryRun bool) error {
	for _, object := range removal.Objects {
		r.Out.Printf("%s\n", terminal.Bad.Text("- "+object.String()))
	}
	objects, now := command.Number(len(removal.Objects), "object"), ""
	if removal.Pods > 0 {
		now = fmt.Sprintf(" (%d labelled now)", removal.Pods)
	}
	if dryRun {
		r.Out.Printf("%s would be removed; labelled pods created after that would get no identity%s\n", objects, now)
		return nil
	}
	question := fmt.Sprintf("Remove %s? Labelled pods created after that get no identity%s.", objects, now)
	if err := consent.Ask(ctx, r, question); err != nil {
		return err
	}
	if err := removal.Do(ctx, r.Progress); err != nil {
		return err
	}
	r.Out.Printf("%s\n", terminal.Good.Text("azwi is uninstalled"))
	values, err := yaml.Marshal(removal.Values)
	if err != nil {
		return err
	}
	r.Err.Block("to undo: ", "  ", fmt.Sprintf("azwi install -n %s --engine %s -f FILE, where FILE has\n%s", removal.Namespace, removal.Engine, values))
	return nil
}

func run(ctx context.Context, r *command.Env, o installOptions) error {
	values, err := o.values(r.Getenv)
	if err != nil {
		return err
	}
	if !slices.Contains([]string{"", install.EngineAuto, install.EngineWebhook, install.EnginePolicy}, o.engine) {
		return fmt.Errorf("--engine %q: use webhook, policy or auto", o.engine)
	}
	config := install.Config{
		Version: version.String(), Namespace: o.namespace, Engine: o.engine, Values: values,
		ResetValues: o.resetValues, TakeOver: o.takeOver, NoWait: !o.wait, Timeout: o.timeout, ProbeNamespace: o.probeNamespace,
		Report: r.Progress,
	}
	config.Client, err = o.cluster.Connect(r)
	switch {
	case o.dryRun == dryRunClient && o.upgrade:
		return errors.New("--dry-run=client: what an upgrade changes depends on the cluster; use --dry-run, or azwi install --dry-run=client")
	case o.dryRun == dryRunClient || o.dryRun == dryRunServer && !o.upgrade && errors.Is(err, finding.CodeNoCluster):
		return printOffline(ctx, r, config)
	case err != nil:
		return err
	case o.dryRun == dryRunServer:
		return preview(ctx, r, config, o)
	}
	result, err := install.Install(ctx, config, o.upgrade)
	if errors.Is(err, finding.CodeNotInstalled) && o.orInstall {
		result, err = install.Install(ctx, config, false)
	}
	switch {
	case errors.Is(err, finding.CodeTimedOut):
		return command.Exit(command.ExitTimeout, finding.NotWorkingInTime(o.timeout, err).Err(err))
	case err != nil:
		return err
	}
	r.Err.Block("", "", "\n"+result.Notes)
	r.Err.Printf("\n")
	done := map[bool]string{true: "works", false: "is applied"}[o.wait]
	r.Out.Printf("azwi %s %s in namespace %s, engine %s\n", result.Version, terminal.Good.Text(done), result.Namespace, result.Engine)
	return nil
}

// preview prints what an upgrade would change, or what an installation would apply.
func preview(ctx context.Context, r *command.Env, config install.Config, o installOptions) error {
	if o.upgrade {
		changes, err := install.Changes(ctx, config)
		switch {
		case err == nil:
			printChanges(r, changes)
			return nil
		case !errors.Is(err, finding.CodeNotInstalled) || !o.orInstall:
			return err
		}
	}
	objects, err := install.Objects(ctx, config, false)
	if err != nil {
		return err
	}
	return printObjects(r, objects)
}

func printOffline(ctx context.Context, r *command.Env, config install.Config) error {
	objects, err := install.Offline(ctx, config)
	if err != nil {
		return err
	}
	r.Err.Printf("no cluster was asked: these are the objects for one with Kubernetes 1.%d in which nothing is installed\n", install.OfflineMinor)
	return printObjects(r, objects)
}

func printObjects(r *command.Env, objects []install.Object) error {
	text, err := install.YAML(objects)
	if err != nil {
		return err
	}
	_, err = r.Data.Write(text)
	return err
}

// values joins files, --set and the conveniences, the later ones winning.
func (o installOptions) values(getenv func(string) string) (map[string]any, error) {
	values := map[string]any{}
	for _, name := range o.files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("--values: %w", err)
		}
		var file map[string]any
		if err := yaml.Unmarshal(text, &file); err != nil {
			return nil, fmt.Errorf("--values %s: %w", name, err)
		}
		values = install.Merge(values, file)
	}
	for _, s := range o.set {
		if err := strvals.ParseInto(s, values); err != nil {
			return nil, fmt.Errorf("--set %s: %w", s, err)
		}
	}
	for _, s := range o.setString {
		if err := strvals.ParseIntoString(s, values); err != nil {
			return nil, fmt.Errorf("--set-string %s: %w", s, err)
		}
	}
	tenant := o.tenantID
	if _, given := values["azureTenantID"]; tenant == "" && !given && !o.upgrade {
		tenant = getenv("AZURE_TENANT_ID")
	}
	for _, v := range []struct{ path, value string }{
		{"azureTenantID", tenant}, {"azureEnvironment", o.environment}, {"global.imageRegistry", o.registry},
	} {
		if v.value == "" {
			continue
		}
		if err := strvals.ParseIntoString(v.path+"="+strings.ReplaceAll(v.value, ",", `\,`), values); err != nil {
			return nil, fmt.Errorf("%s: %w", v.path, err)
		}
	}
	return values, nil
}
