package policy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	celgo "github.com/google/cel-go/cel"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"

	"azwi/contract"
	"azwi/internal/pod/inject/injecttest"
	"azwi/internal/pod/policy"
)

// TestExpressions compiles every expression of the policies, for the settings of
// every golden case, with the API server's own CEL environment in the oldest version
// that has these policies, and evaluates them: what a pod costs must stay far below
// the API server's budget, for a plain pod and for the largest that is likely.
func TestExpressions(t *testing.T) {
	t.Parallel()
	cases, err := injecttest.Cases("../../internal/pod/inject/testdata")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	expressions := 0
	for _, g := range cases {
		objects, err := policy.Generate(policy.Config{Settings: g.Settings, Version: "test"})
		if err != nil {
			t.Fatalf("%s: %v", g.Name, err)
		}
		for _, o := range objects {
			raw, err := o.JSON()
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(o.Kind, "Policy") || seen[string(raw)] {
				continue
			}
			seen[string(raw)] = true
			p := compile(t, g.Name+" "+o.Kind+" "+o.Metadata.Name, raw)
			expressions += p.expressions
			if !reflect.DeepEqual(g.Settings, injecttest.Settings()) {
				continue
			}
			for _, containers := range []int{1, 20, 100} {
				// Validating policies see the pod as it was injected.
				cost := p.cost(t, pod(containers, o.Kind == "ValidatingAdmissionPolicy"))
				t.Logf("%s %s: a pod with %d containers costs %d, which is %.2f%% of the budget of %d",
					o.Kind, o.Metadata.Name, containers, cost, 100*float64(cost)/celconfig.RuntimeCELCostBudget, celconfig.RuntimeCELCostBudget)
				if most := int64(celconfig.RuntimeCELCostBudget / 4); containers <= 20 && cost > most {
					t.Errorf("%s %s costs %d, more than %d", o.Kind, o.Metadata.Name, cost, most)
				}
			}
		}
	}
	t.Logf("%d expressions in %d different policies compile", expressions, len(seen))
}

// compiled is a policy as the API server has it.
type compiled struct {
	compiler    *cel.CompositedCompiler
	conditions  []cel.ConditionEvaluator
	mutations   []cel.MutatingEvaluator
	params      bool
	expressions int
}

type expression struct {
	name, text string
	types      []*celgo.Type
}

func (e expression) GetName() string            { return e.name }
func (e expression) GetExpression() string      { return e.text }
func (e expression) ReturnTypes() []*celgo.Type { return e.types }

func compile(t testing.TB, name string, raw []byte) *compiled {
	t.Helper()
	var object struct {
		Spec struct {
			ParamKind        *struct{}
			MatchConditions  []struct{ Name, Expression string }
			Variables        []struct{ Name, Expression string }
			Mutations        []struct{ JSONPatch struct{ Expression string } }
			Validations      []struct{ Expression, MessageExpression string }
			AuditAnnotations []struct{ ValueExpression string }
		}
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatal(err)
	}
	spec := object.Spec
	compiler, err := cel.NewCompositedCompiler(environment.MustBaseEnvSet(version.MajorMinor(1, 36)))
	if err != nil {
		t.Fatal(err)
	}
	p := &compiled{compiler: compiler, params: spec.ParamKind != nil}
	options := cel.OptionalVariableDeclarations{HasParams: p.params, HasAuthorizer: true}
	check := func(what string, errs ...error) {
		p.expressions++
		for _, err := range errs {
			t.Errorf("%s: %s: %v", name, what, err)
		}
	}
	for _, v := range spec.Variables {
		e := expression{v.Name, v.Expression, []*celgo.Type{celgo.AnyType, celgo.DynType}}
		result := compiler.CompileAndStoreVariable(e, options, environment.NewExpressions)
		check(v.Name)
		if result.Error != nil {
			check(v.Name, result.Error)
		}
	}
	// Each kind of condition is evaluated together, as the API server does.
	conditions := func(what string, texts []string, types ...*celgo.Type) {
		var all []cel.ExpressionAccessor
		for i, text := range texts {
			all = append(all, expression{fmt.Sprint(what, i), text, types})
		}
		c := compiler.CompileCondition(all, options, environment.NewExpressions)
		check(what, c.CompilationErrors()...)
		p.expressions += len(all) - 1
		p.conditions = append(p.conditions, c)
	}
	var matches, checks, messages, annotations []string
	for _, m := range spec.MatchConditions {
		matches = append(matches, m.Expression)
	}
	for _, v := range spec.Validations {
		checks, messages = append(checks, v.Expression), append(messages, v.MessageExpression)
	}
	for _, a := range spec.AuditAnnotations {
		annotations = append(annotations, a.ValueExpression)
	}
	conditions("match condition", matches, celgo.BoolType)
	conditions("validation", checks, celgo.BoolType)
	conditions("message", messages, celgo.StringType)
	conditions("audit annotation", annotations, celgo.StringType)
	options.HasPatchTypes = true
	for _, m := range spec.Mutations {
		e := compiler.CompileMutatingEvaluator(expression{"mutation", m.JSONPatch.Expression, []*celgo.Type{celgo.ListType(celgo.ObjectType("JSONPatch"))}}, options, environment.NewExpressions)
		check("mutation", e.CompilationErrors()...)
		p.mutations = append(p.mutations, e)
	}
	return p
}

// cost evaluates every expression on its own, variables included, and adds up: an
// upper bound, as the API server evaluates a variable once for all validations.
func (p *compiled) cost(t *testing.T, pod *corev1.Pod) int64 {
	t.Helper()
	attributes, request := admissionOf(pod)
	var inputs cel.OptionalVariableBindings
	if p.params {
		inputs.VersionedParams = &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "orders", Annotations: map[string]string{contract.ClientIDAnnotation: guid(1)},
		}}
	}
	const budget = celconfig.RuntimeCELCostBudget
	var cost int64
	for _, c := range p.conditions {
		results, remaining, err := c.ForInput(t.Context(), attributes, request, inputs, nil, budget)
		for _, r := range results {
			if r.Error != nil {
				t.Errorf("%s: %v", r.ExpressionAccessor.GetExpression(), r.Error)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		cost += budget - remaining
	}
	for _, m := range p.mutations {
		var ctx context.Context = p.compiler.CreateContext(t.Context())
		result, remaining, err := m.ForInput(ctx, attributes, request, inputs, nil, budget)
		if err != nil || result.Error != nil {
			t.Fatal(err, result.Error)
		}
		cost += budget - remaining
	}
	return cost
}

// admissionOf is the creation of a pod, as expressions see it.
func admissionOf(pod *corev1.Pod) (*admission.VersionedAttributes, *admissionv1.AdmissionRequest) {
	kind := corev1.SchemeGroupVersion.WithKind("Pod")
	attributes := &admission.VersionedAttributes{
		Attributes: admission.NewAttributesRecord(pod, nil, kind, "shop", "orders", corev1.SchemeGroupVersion.WithResource("pods"), "",
			admission.Create, &metav1.CreateOptions{}, false, &user.DefaultInfo{Name: "jane"}),
		VersionedKind: kind, VersionedObject: admission.NewLazyObject(pod),
	}
	return attributes, cel.CreateAdmissionRequest(attributes.Attributes, metav1.GroupVersionResource(attributes.GetResource()), metav1.GroupVersionKind(kind))
}

// pod has containers that each set 30 variables and mount 10 volumes, and asks for
// the proxy.
func pod(containers int, injected bool) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "orders", Labels: map[string]string{contract.UseLabel: contract.UseLabelValue},
		Annotations: map[string]string{contract.InjectProxyAnnotation: "true", "azure.workload.identity/skip_containers": "x"},
	}, Spec: corev1.PodSpec{ServiceAccountName: "orders"}}
	for i := range 30 {
		p.Annotations[fmt.Sprintf("example.com/annotation-%d", i)] = strings.Repeat("x", 100)
	}
	for i := range containers {
		c := corev1.Container{Name: fmt.Sprintf("app-%d", i), Image: "app:1"}
		for j := range 30 {
			c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("VARIABLE_%d", j), Value: "value"})
		}
		for j := range 10 {
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: fmt.Sprintf("volume-%d", j), MountPath: fmt.Sprintf("/var/lib/app/data/%d", j)})
		}
		if injected {
			for _, name := range []string{contract.EnvClientID, contract.EnvTenantID, contract.EnvFederatedTokenFile, contract.EnvAuthorityHost} {
				c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: "value"})
			}
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: contract.TokenVolume, MountPath: contract.MountPath})
		}
		p.Spec.Containers = append(p.Spec.Containers, c)
	}
	if injected {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: contract.TokenVolume})
	}
	for j := range 10 {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: fmt.Sprintf("volume-%d", j)})
	}
	return p
}
