package policy_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/contract"
	"azwi/internal/pod/inject/injecttest"
	"azwi/internal/pod/policy"
	"azwi/test/cluster"
	"azwi/test/handlers"
	"azwi/test/product"
)

// TestReinvocation has somebody else's mutating policy and webhook add containers
// after ours has run: the new ones are injected too, and nothing twice.
func TestReinvocation(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	namespace := newNamespace(t, c)
	install(t, c, namespace, policy.Config{Settings: injecttest.Settings()})
	if err := createAccount(t.Context(), c, namespace, "orders", guid(1), nil); err != nil {
		t.Fatal(err)
	}
	mutateByPolicy(t, c, "z-"+namespace, namespace, `object.spec.containers.exists(c, c.name == "added-by-policy") ? [] :
		[JSONPatch{op: "add", path: "/spec/containers/-", value: {"name": "added-by-policy", "image": "a:1"}}]`, `"added-by-policy"`)
	handlers.Register(t, c, product.Registration{
		Addr: handlers.ServeTLS(t, c, http.HandlerFunc(handlers.AddContainer)), Namespaces: []string{namespace},
	})
	waitIdentity(t, c, namespace, "orders", guid(1))
	pod := podOf("orders")
	pod["metadata"].(object)["annotations"] = object{contract.InjectProxyAnnotation: "true"}
	var created createdPod
	if _, err := c.Admin.Do(t.Context(), "POST", "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", pod, &created); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, container := range slices.Concat(created.Spec.InitContainers, created.Spec.Containers) {
		names = append(names, container.Name)
		if container.Name == contract.ProxyInitContainer {
			continue
		}
		identities, mounts := 0, 0
		for _, e := range container.Env {
			if e.Name == contract.EnvClientID && e.Value == guid(1) {
				identities++
			}
		}
		for _, m := range container.VolumeMounts {
			if m.MountPath == contract.MountPath {
				mounts++
			}
		}
		if identities != 1 || mounts != 1 {
			t.Errorf("container %s has %d identities and %d mounts of the token", container.Name, identities, mounts)
		}
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "added added-by-policy added-init app azwi-proxy azwi-proxy-init" {
		t.Errorf("containers are %s", got)
	}
	volumes := 0
	for _, v := range created.Spec.Volumes {
		if strings.HasPrefix(v.Name, contract.VolumePrefix) {
			volumes++
		}
	}
	if volumes != 2 { // token and empty
		t.Errorf("%d reserved volumes: %+v", volumes, created.Spec.Volumes)
	}
}

// waitDenied creates a pod of the account orders, which somebody turns into payments,
// until it is denied. Kubernetes runs mutating policies in no fixed order and draws a new
// one whenever a policy changes, so each further try changes one. A pod that is created
// was changed before injection, and has the identity of the account that it runs as.
func waitDenied(t *testing.T, c *cluster.Cluster, namespace string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		got, err := createPod(ctx, c, namespace, "orders")
		want := `was set for service account "orders", but the pod runs as "payments"`
		switch {
		case err != nil && strings.Contains(err.Error(), want):
			return
		case err != nil || ctx.Err() != nil:
			t.Fatalf("got identity %q and %v, want a denial with %s", got, err, want)
		case got != guid(1):
			t.Fatalf("the pod runs as payments, but has the identity %q, want %q", got, guid(1))
		}
		mutateByPolicy(t, c, "again-"+strings.ToLower(rand.Text()[:8])+"-"+namespace, namespace, `true ? [] : [JSONPatch{op: "test", path: "", value: {}}]`, `"payments"`)
	}
}

// mutateByPolicy changes the namespace's pods by a mutating policy. It is in force once a
// pod of the account orders shows the sign.
func mutateByPolicy(t *testing.T, c *cluster.Cluster, name, namespace, expression, sign string) {
	t.Helper()
	const path = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpol"
	create := func(resource string, spec object) {
		t.Helper()
		if _, err := c.Admin.Do(t.Context(), "POST", path+resource, object{"metadata": object{"name": name}, "spec": spec}, nil); err != nil {
			t.Fatal(err)
		}
	}
	create("icies", object{
		"failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded",
		"matchConstraints": object{
			"namespaceSelector": object{"matchLabels": object{"kubernetes.io/metadata.name": namespace}},
			"resourceRules":     []object{{"apiGroups": []string{""}, "apiVersions": []string{"v1"}, "operations": []string{"CREATE"}, "resources": []string{"pods"}}},
		},
		"mutations": []object{{"patchType": "JSONPatch", "jsonPatch": object{"expression": expression}}},
	})
	create("icybindings", object{"policyName": name})
	probe := object{"metadata": object{"name": "probe"}, "spec": object{"serviceAccountName": "orders", "containers": []object{{"name": "app", "image": "a:1"}}}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for { // until it is in force
		var raw json.RawMessage
		_, err := c.Admin.Do(ctx, "POST", "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", probe, &raw)
		if err == nil && bytes.Contains(raw, []byte(sign)) {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the other policy is not in force: %v", err)
		}
	}
	t.Cleanup(func() {
		for _, resource := range []string{"icybindings", "icies"} {
			if _, err := c.Admin.Do(context.WithoutCancel(t.Context()), "DELETE", path+resource+"/"+name, nil, nil); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestBothEngines installs webhook and policy for one namespace: the pod is as with
// one of them.
func TestBothEngines(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	webhooks := handlers.Serve(t, c)
	var pods []any
	for _, both := range []bool{false, true} {
		namespace := newNamespace(t, c)
		install(t, c, namespace, policy.Config{Settings: injecttest.Settings()})
		if both {
			webhooks.Register(t, namespace, injecttest.Settings())
		}
		if err := createAccount(t.Context(), c, namespace, "orders", guid(1), nil); err != nil {
			t.Fatal(err)
		}
		waitIdentity(t, c, namespace, "orders", guid(1))
		pod := podOf("orders")
		pod["metadata"].(object)["annotations"] = object{contract.InjectProxyAnnotation: "true"}
		raw, err := json.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		got := create(t, c, namespace, raw)
		if got.message != "" {
			t.Fatal(got.message)
		}
		pods = append(pods, got.pod)
	}
	if diff := cmp.Diff(pods[0], pods[1]); diff != "" {
		t.Errorf("-policy alone +both:\n%s", diff)
	}
}

// TestAccountChanged has somebody else's policy or webhook change the service account
// after injection. A pod with the former account's identity is denied; one that names
// its identity itself is not.
func TestAccountChanged(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	byPolicy := func(t *testing.T, namespace string) {
		mutateByPolicy(t, c, "z-"+namespace, namespace, `object.spec.?serviceAccountName.orValue("") != "orders" ? [] :
			[JSONPatch{op: "replace", path: "/spec/serviceAccountName", value: "payments"}]`, `"serviceAccountName":"payments"`)
	}
	byWebhook := func(t *testing.T, namespace string) {
		handlers.Register(t, c, product.Registration{
			Name: "z-" + namespace, Addr: handlers.ServeTLS(t, c, http.HandlerFunc(handlers.ChangeAccount)), Namespaces: []string{namespace},
		})
	}
	webhooks := handlers.Serve(t, c)
	for name, tt := range map[string]struct {
		engine, change func(t *testing.T, namespace string)
	}{
		"policy, changed by policy":   {func(t *testing.T, ns string) { install(t, c, ns, policy.Config{Settings: injecttest.Settings()}) }, byPolicy},
		"policy, changed by webhook":  {func(t *testing.T, ns string) { install(t, c, ns, policy.Config{Settings: injecttest.Settings()}) }, byWebhook},
		"webhook, changed by webhook": {func(t *testing.T, ns string) { webhooks.Register(t, ns, injecttest.Settings()) }, byWebhook},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := newNamespace(t, c)
			for i, account := range []string{"orders", "payments"} {
				if err := createAccount(t.Context(), c, namespace, account, guid(i), nil); err != nil {
					t.Fatal(err)
				}
			}
			tt.engine(t, namespace)
			for i, account := range []string{"orders", "payments"} {
				waitIdentity(t, c, namespace, account, guid(i))
			}
			tt.change(t, namespace)
			waitDenied(t, c, namespace)
			if _, err := createPod(t.Context(), c, namespace, "payments"); err != nil {
				t.Errorf("a pod whose account stays: %v", err)
			}
			own := podOf("orders")
			own["spec"].(object)["containers"] = []object{{"name": "app", "image": "a:1", "env": []object{{"name": contract.EnvClientID, "value": guid(7)}}}}
			var created createdPod
			if _, err := c.Admin.Do(t.Context(), "POST", "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", own, &created); err != nil {
				t.Errorf("a pod that names its identity itself: %v", err)
			}
		})
	}
}
