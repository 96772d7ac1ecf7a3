package install

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/kube"
)

// manager owns in server-side apply what this package applies.
const manager = "azwi"

const deploymentName = "azure-wi-webhook-controller-manager"

func webhookConfigurationRef(name string) kube.Ref {
	return kube.Ref{APIVersion: admissionVersion, Kind: "MutatingWebhookConfiguration", Name: name}
}

func mutatingPolicyRef() kube.Ref {
	return kube.Ref{APIVersion: admissionVersion, Kind: "MutatingAdmissionPolicy", Name: policyName}
}

func deploymentRef(namespace string) kube.Ref {
	return kube.Ref{APIVersion: "apps/v1", Kind: "Deployment", Namespace: namespace, Name: deploymentName}
}

const admissionVersion = "admissionregistration.k8s.io/v1"

// A cluster is the API server and what it can do.
type cluster struct {
	*kube.Client
	version     string // such as v1.37.2
	apiVersions []string
	// record is what this run has written, as run; nil before it has.
	record *record
	run    string
}

func connect(ctx context.Context, client *kube.Client) (*cluster, error) {
	c := &cluster{Client: client}
	var version struct{ GitVersion string }
	if err := c.Get(ctx, "/version", &version); err != nil {
		return nil, err
	}
	c.version = version.GitVersion
	var groups struct {
		Groups []struct {
			Versions []struct{ GroupVersion string }
		}
	}
	if err := c.Get(ctx, "/apis", &groups); err != nil {
		return nil, err
	}
	c.apiVersions = []string{"v1"}
	for _, g := range groups.Groups {
		for _, v := range g.Versions {
			c.apiVersions = append(c.apiVersions, v.GroupVersion)
		}
	}
	return c, nil
}

// minor is the y of version 1.y.
func minor(version string) (int, error) {
	m := regexp.MustCompile(`^v?1\.(\d+)`).FindStringSubmatch(version)
	if m == nil {
		return 0, finding.NotKubernetes(version).Err(nil)
	}
	return strconv.Atoi(m[1])
}

// find reads an object; it is nil if there is none, or not even its kind.
func (c *cluster) find(ctx context.Context, ref kube.Ref) (Object, error) {
	var o Object
	err := c.Read(ctx, ref, &o)
	if kube.IsNotFound(err) {
		return nil, nil
	}
	return o, err
}

// An Owner is who keeps an installation.
type Owner string

const (
	// OwnerAzwi is this package.
	OwnerAzwi Owner = "azwi"
	// OwnerHelm is a release of Helm's.
	OwnerHelm Owner = "helm"
	// OwnerAKS is the add-on of Azure Kubernetes Service.
	OwnerAKS Owner = "aks"
	// OwnerOther is whoever applied manifests.
	OwnerOther Owner = "other"
	// OwnerUnknown is an owner that the user may not find out.
	OwnerUnknown Owner = "unknown"
)

// An Installation is what was found in a cluster.
type Installation struct {
	Owner Owner
	// Namespace and Release are where and under which label.
	Namespace, Release string
	// Engine is the one that serves: webhook or policy. Empty: none does.
	Engine string
	// name is the label app, which the Deployment's selector has.
	name string
	// record is there with OwnerAzwi.
	record *record
}

// discover looks for what injects. It is nil if there is nothing.
func (c *cluster) discover(ctx context.Context) (*Installation, error) {
	record, err := c.readRecord(ctx)
	if err != nil {
		return nil, err
	}
	if record != nil {
		return &Installation{Owner: OwnerAzwi, Namespace: record.namespace, Release: record.Release, Engine: record.Serving, record: record}, nil
	}
	configuration, err := c.webhookConfiguration(ctx)
	if err != nil {
		return nil, err
	}
	if configuration != nil {
		return c.discoverWebhook(ctx, configuration)
	}
	// Before 1.36 there is no such kind, and nothing is found.
	policy, err := c.find(ctx, mutatingPolicyRef())
	if err != nil || policy == nil {
		return nil, err
	}
	found := &Installation{Owner: owner(policy), Namespace: DefaultNamespace, Release: DefaultRelease, Engine: "policy"}
	if found.Owner == OwnerHelm {
		found.Namespace, found.Release = policy.annotation(helmNamespace), policy.annotation(helmName)
	}
	return found, nil
}

const (
	policyName    = "azure-wi-policy"
	helmName      = "meta.helm.sh/release-name"
	helmNamespace = "meta.helm.sh/release-namespace"
)

// webhookConfiguration finds the configuration with our webhook, under whatever name.
func (c *cluster) webhookConfiguration(ctx context.Context) (Object, error) {
	o, err := c.find(ctx, webhookConfigurationRef(contract.WebhookConfiguration))
	if err != nil || o != nil {
		return o, err
	}
	err = c.List(ctx, webhookConfigurationRef(""), "", func(raw json.RawMessage) error {
		var one struct{ Webhooks []struct{ Name string } }
		if err := json.Unmarshal(raw, &one); err != nil {
			return err
		}
		for _, w := range one.Webhooks {
			if w.Name == contract.WebhookName {
				return json.Unmarshal(raw, &o)
			}
		}
		return nil
	})
	return o, err
}

func (c *cluster) discoverWebhook(ctx context.Context, configuration Object) (*Installation, error) {
	found := &Installation{Owner: owner(configuration), Namespace: DefaultNamespace, Release: configuration.label("release"), Engine: "webhook"}
	var typed struct {
		Webhooks []struct {
			ClientConfig struct{ Service *struct{ Namespace string } }
		}
	}
	if err := convert(configuration, &typed); err != nil {
		return nil, err
	}
	for _, w := range typed.Webhooks {
		if s := w.ClientConfig.Service; s != nil {
			found.Namespace = s.Namespace
		}
	}
	if found.Owner == OwnerHelm {
		found.Namespace, found.Release = configuration.annotation(helmNamespace), configuration.annotation(helmName)
	}
	deployment, err := c.find(ctx, deploymentRef(found.Namespace))
	if err != nil {
		return nil, err
	}
	if deployment != nil {
		var d struct {
			Spec struct {
				Selector struct{ MatchLabels map[string]string }
			}
		}
		if err := convert(deployment, &d); err != nil {
			return nil, err
		}
		found.name, found.Release = d.Spec.Selector.MatchLabels["app"], d.Spec.Selector.MatchLabels["release"]
	}
	if found.Namespace == "kube-system" || deployment != nil && owner(deployment) == OwnerAKS {
		found.Owner = OwnerAKS
	}
	return found, nil
}

// owner tells from an object's metadata who keeps it.
func owner(o Object) Owner {
	switch {
	case o.label("kubernetes.azure.com/managedby") == "aks", o.label("addonmanager.kubernetes.io/mode") != "":
		return OwnerAKS
	case o.annotation(helmName) != "":
		return OwnerHelm
	}
	return OwnerOther
}

func (o Object) label(key string) string      { return o.metadataText("labels", key) }
func (o Object) annotation(key string) string { return o.metadataText("annotations", key) }

func (o Object) metadataText(member, key string) string {
	m, _ := o.metadata()[member].(map[string]any)
	s, _ := m[key].(string)
	return s
}

// convert reads an object into a type that has the members of interest.
func convert(o Object, to any) error {
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, to)
}

// String names the installation in a sentence.
func (i *Installation) String() string {
	switch i.Owner {
	case OwnerHelm:
		return fmt.Sprintf("Helm's release %s in namespace %s", i.Release, i.Namespace)
	case OwnerAKS:
		return "the add-on of AKS"
	case OwnerAzwi:
		return fmt.Sprintf("azwi's own installation in namespace %s", i.Namespace)
	}
	return fmt.Sprintf("an installation in namespace %s that was applied from manifests", i.Namespace)
}

func (c *cluster) has(apiVersion string) bool { return slices.Contains(c.apiVersions, apiVersion) }

// trimManaged leaves out what only the API server cares for.
func trimManaged(o Object) Object {
	m := o.metadata()
	for _, key := range []string{"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"} {
		delete(m, key)
	}
	if annotations, ok := m["annotations"].(map[string]any); ok {
		delete(annotations, "deployment.kubernetes.io/revision")
		delete(annotations, "kubectl.kubernetes.io/last-applied-configuration")
	}
	delete(o, "status")
	return o
}
