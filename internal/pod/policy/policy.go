package policy

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"azwi/contract"
	"azwi/internal/pod/inject"
)

// DefaultName is the name of the policies and their bindings.
const DefaultName = "azure-wi-policy"

// Config says what to generate.
type Config struct {
	// Settings are the webhook's.
	Settings inject.Settings
	// Name of the policies and bindings. Defaults to DefaultName.
	Name string
	// LabelledAccounts restricts injection to pods of service accounts with the
	// label azure.workload.identity/use: "true"; pods of others are denied. It
	// keeps admission fast in namespaces with hundreds of service accounts.
	LabelledAccounts bool
	// Namespaces restricts the policies to the namespaces that it selects.
	// Default: all.
	Namespaces *Selector
	// Version of this program, for the audit annotation. Required.
	Version string
}

// An Object is one Kubernetes object.
type Object struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Metadata   Metadata `yaml:"metadata"`
	Spec       any      `yaml:"spec"`
}

// Metadata is the part of an object's metadata that is generated.
type Metadata struct {
	Name   string            `yaml:"name"`
	Labels map[string]string `yaml:"labels,omitempty"`
}

// Selector is a label selector.
type Selector struct {
	MatchLabels      map[string]string     `yaml:"matchLabels,omitempty" json:"matchLabels,omitempty"`
	MatchExpressions []SelectorRequirement `yaml:"matchExpressions,omitempty" json:"matchExpressions,omitempty"`
}

// SelectorRequirement is one requirement of a label selector.
type SelectorRequirement struct {
	Key      string   `yaml:"key" json:"key"`
	Operator string   `yaml:"operator" json:"operator"`
	Values   []string `yaml:"values,omitempty" json:"values,omitempty"`
}

// The API server fills in defaults for what is left out. They are written out
// here, so that what is installed is what was generated, field by field.

type policySpec struct {
	FailurePolicy      string            `yaml:"failurePolicy"`
	ReinvocationPolicy string            `yaml:"reinvocationPolicy,omitempty"`
	ParamKind          *paramKind        `yaml:"paramKind,omitempty"`
	MatchConstraints   matchConstraints  `yaml:"matchConstraints"`
	MatchConditions    []namedExpression `yaml:"matchConditions,omitempty"`
	Variables          []namedExpression `yaml:"variables,omitempty"`
	Mutations          []mutation        `yaml:"mutations,omitempty"`
	Validations        []validation      `yaml:"validations,omitempty"`
	AuditAnnotations   []auditAnnotation `yaml:"auditAnnotations,omitempty"`
}

type paramKind struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
}

type matchConstraints struct {
	MatchPolicy       string   `yaml:"matchPolicy"`
	NamespaceSelector Selector `yaml:"namespaceSelector"`
	ObjectSelector    Selector `yaml:"objectSelector"`
	ResourceRules     []rule   `yaml:"resourceRules,omitempty"`
}

type rule struct {
	APIGroups   []string `yaml:"apiGroups,flow"`
	APIVersions []string `yaml:"apiVersions,flow"`
	Operations  []string `yaml:"operations,flow"`
	Resources   []string `yaml:"resources,flow"`
	Scope       string   `yaml:"scope"`
}

type namedExpression struct {
	Name       string `yaml:"name"`
	Expression string `yaml:"expression"`
}

type mutation struct {
	PatchType string    `yaml:"patchType"`
	JSONPatch jsonPatch `yaml:"jsonPatch"`
}

type jsonPatch struct {
	Expression string `yaml:"expression"`
}

type validation struct {
	Expression        string `yaml:"expression"`
	MessageExpression string `yaml:"messageExpression"`
	Reason            string `yaml:"reason,omitempty"`
}

type auditAnnotation struct {
	Key             string `yaml:"key"`
	ValueExpression string `yaml:"valueExpression"`
}

type bindingSpec struct {
	PolicyName        string           `yaml:"policyName"`
	ParamRef          *paramRef        `yaml:"paramRef,omitempty"`
	MatchResources    matchConstraints `yaml:"matchResources"`
	ValidationActions []string         `yaml:"validationActions,omitempty,flow"`
}

type paramRef struct {
	Selector                Selector `yaml:"selector"`
	ParameterNotFoundAction string   `yaml:"parameterNotFoundAction"`
}

// Generate returns the policies and their bindings, in the order in which they are
// to be created: what denies comes before what injects, so that no pod slips
// through. The same configuration gives the same objects.
func Generate(c Config) ([]Object, error) {
	if c.Name == "" {
		c.Name = DefaultName
	}
	g, err := newGenerator(c)
	if err != nil {
		return nil, fmt.Errorf("generate policies: %w", err)
	}
	validating, err := g.validating()
	if err != nil {
		return nil, fmt.Errorf("generate the validating policy: %w", err)
	}
	mutating, err := g.mutating()
	if err != nil {
		return nil, fmt.Errorf("generate the mutating policy: %w", err)
	}
	podWarnings, err := g.podWarnings()
	if err != nil {
		return nil, fmt.Errorf("generate the policy of warnings: %w", err)
	}
	accountWarnings, err := g.accountWarnings()
	if err != nil {
		return nil, fmt.Errorf("generate the policy of warnings about accounts: %w", err)
	}
	ofPods, ofAccounts := c.Name+"-warnings", c.Name+"-accounts"
	return []Object{
		c.object("ValidatingAdmissionPolicy", c.Name, validating),
		c.object("ValidatingAdmissionPolicyBinding", c.Name, c.binding(c.Name, nil, "Deny")),
		c.object("ValidatingAdmissionPolicy", ofPods, podWarnings),
		c.object("ValidatingAdmissionPolicyBinding", ofPods, c.binding(ofPods, nil, "Warn")),
		c.object("ValidatingAdmissionPolicy", ofAccounts, accountWarnings),
		c.object("ValidatingAdmissionPolicyBinding", ofAccounts, c.binding(ofAccounts, nil, "Warn")),
		c.object("MutatingAdmissionPolicy", c.Name, mutating),
		c.object("MutatingAdmissionPolicyBinding", c.Name, c.binding(c.Name, c.accounts(), "")),
	}, nil
}

func (c Config) object(kind, name string, spec any) Object {
	return Object{
		APIVersion: "admissionregistration.k8s.io/v1", Kind: kind,
		Metadata: Metadata{Name: name, Labels: map[string]string{"app.kubernetes.io/managed-by": "azwi"}},
		Spec:     spec,
	}
}

// accounts selects the service accounts of the pod's namespace.
func (c Config) accounts() *paramRef {
	p := paramRef{ParameterNotFoundAction: "Allow"}
	if c.LabelledAccounts {
		p.Selector.MatchLabels = map[string]string{contract.UseLabel: contract.UseLabelValue}
	}
	return &p
}

func (c Config) binding(name string, params *paramRef, action string) bindingSpec {
	b := bindingSpec{PolicyName: name, ParamRef: params, MatchResources: matchConstraints{MatchPolicy: "Equivalent"}}
	if c.Namespaces != nil {
		b.MatchResources.NamespaceSelector = *c.Namespaces
	}
	if action != "" {
		b.ValidationActions = []string{action}
	}
	return b
}

// pods is what the policies for pods have in common: pods that opt in, at their
// creation, in whatever version of the API.
func pods() policySpec {
	p := on("pods", "CREATE")
	p.MatchConstraints.ObjectSelector.MatchLabels = map[string]string{contract.UseLabel: contract.UseLabelValue}
	p.MatchConditions = []namedExpression{{"not-a-mirror-pod", "!(" + quote(contract.MirrorPodAnnotation) + " in object.metadata.?annotations.orValue({}))"}}
	return p
}

// accounts are service accounts whenever they are written.
func accounts() policySpec { return on("serviceaccounts", "CREATE", "UPDATE") }

func on(resource string, operations ...string) policySpec {
	return policySpec{
		FailurePolicy: "Fail",
		MatchConstraints: matchConstraints{
			MatchPolicy: "Equivalent",
			ResourceRules: []rule{{
				APIGroups: []string{""}, APIVersions: []string{"v1"}, Operations: operations, Resources: []string{resource}, Scope: "*",
			}},
		},
	}
}

// withAccount makes the policy be evaluated for the pod's service account, unless the
// pod is complete. It is one condition: the API server evaluates all of them for each
// account, even if the first is false already.
func (p policySpec) withAccount(complete string) policySpec {
	p.ParamKind = &paramKind{"v1", "ServiceAccount"}
	conditions := []string{`params.metadata.name == object.spec.?serviceAccountName.orValue("default")`}
	for _, c := range p.MatchConditions {
		conditions = append(conditions, c.Expression)
	}
	conditions = append(conditions, "!(\n"+indent(complete)+")")
	p.MatchConditions = []namedExpression{{"incomplete-pod-of-the-service-account", strings.Join(conditions, " &&\n")}}
	return p
}

// YAML writes the objects as one file, under a comment that tells the settings.
func (c Config) YAML(objects []Object) ([]byte, error) {
	out := bytes.NewBufferString(c.header())
	e := yaml.NewEncoder(out)
	e.SetIndent(2)
	for _, o := range objects {
		if err := e.Encode(o); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), e.Close()
}
