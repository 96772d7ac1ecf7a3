package product

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"azwi/contract"
	"azwi/test/cluster"
	"azwi/test/process"
)

// WebhookConfig says how to run azwi-webhook.
type WebhookConfig struct {
	Cluster *cluster.Cluster
	// Binary is what Build returned.
	Binary string
	// Dir holds its certificate and kubeconfig. Required; may be shared by
	// several webhooks that serve the same certificate.
	Dir string
	// User is the webhook's name before the API server. Default: azwi-webhook.
	User string
	// Own, if set, has the webhook keep a certificate of its own there, instead of
	// serving the one in Dir.
	Own *OwnCertificate
	// Args and Env are added to the necessary ones and come after them.
	Args, Env []string
	// Memory limits it, in bytes, as process.Config does. Default: no limit.
	Memory int64
	// Log gets its log. Default: nowhere.
	Log io.Writer
}

// OwnCertificate says where a webhook keeps its own certificate.
type OwnCertificate struct {
	// Namespace has the product's Secret, which must exist. Required.
	Namespace string
	// Configuration is the name of the MutatingWebhookConfiguration. Required.
	Configuration string
	// Names are the certificate's, comma-separated. Required.
	Names string
}

// TenantID is the tenant of webhooks that are not told another one.
const TenantID = "11111111-1111-1111-1111-111111111111"

// Webhook is a running azwi-webhook.
type Webhook struct {
	*process.Child
	Addr, HealthAddr, MetricsAddr string // host:port
}

// CertDir is where the webhook's certificate lies.
func (c WebhookConfig) CertDir() string { return filepath.Join(c.Dir, "certs") }

// StartWebhook starts azwi-webhook, with the rights it needs and a certificate for
// 127.0.0.1, and returns when it serves. Nothing is registered yet.
func StartWebhook(ctx context.Context, c WebhookConfig) (*Webhook, error) {
	if c.User == "" {
		c.User = "azwi-webhook"
	}
	kubeconfig := filepath.Join(c.Dir, c.User+".kubeconfig")
	if err := c.prepare(ctx, kubeconfig); err != nil {
		return nil, fmt.Errorf("prepare the webhook: %w", err)
	}
	args := []string{
		"--kubeconfig=" + kubeconfig, "--addr=127.0.0.1:0", "--health-addr=127.0.0.1:0", "--metrics-addr=127.0.0.1:0", "--drain-delay=0s",
	}
	env := []string{contract.EnvTenantID + "=" + TenantID, contract.EnvProxyImage + "=registry.example/azwi/proxy:v1", "GORACE=halt_on_error=1 exitcode=66"}
	if c.Own == nil {
		args = append(args, "--disable-cert-rotation", "--webhook-cert-dir="+c.CertDir())
	} else {
		args = append(args, "--cert-webhook-configuration="+c.Own.Configuration, "--cert-names="+c.Own.Names)
		env = append(env, contract.EnvPodNamespace+"="+c.Own.Namespace)
	}
	child, serving, err := startServing(ctx, process.Config{
		Binary: c.Binary, Args: append(args, c.Args...), Env: append(env, c.Env...), Stderr: c.Log, Memory: c.Memory,
	})
	if err != nil {
		return nil, err
	}
	return &Webhook{Child: child, Addr: serving.Addr, HealthAddr: serving.Health, MetricsAddr: serving.Metrics}, nil
}

// StartServing starts a program that logs where it serves as azwi-webhook does, in
// JSON on standard error, and returns it and its address.
func StartServing(ctx context.Context, c process.Config) (*process.Child, string, error) {
	child, serving, err := startServing(ctx, c)
	return child, serving.Addr, err
}

func startServing(ctx context.Context, c process.Config) (*process.Child, servingLine, error) {
	log := &servingWatcher{to: c.Stderr, found: make(chan struct{})}
	c.Stderr = log
	child, err := process.Start(c)
	if err != nil {
		return nil, servingLine{}, err
	}
	select {
	case <-log.found:
		return child, log.serving(), nil
	case <-child.Done():
		return nil, servingLine{}, fmt.Errorf("%s ended: %w\n%s", c.Binary, child.Wait(), log.text())
	case <-ctx.Done():
		return nil, servingLine{}, errors.Join(ctx.Err(), child.Stop(time.Second))
	}
}

// prepare writes what the webhook reads and grants what it needs: to get service
// accounts.
func (c WebhookConfig) prepare(ctx context.Context, kubeconfig string) error {
	if err := os.MkdirAll(c.CertDir(), 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(c.CertDir(), "tls.crt")); errors.Is(err, os.ErrNotExist) {
		pair, err := c.Cluster.CA.Server("127.0.0.1")
		if err != nil {
			return err
		}
		if err := pair.Write(filepath.Join(c.CertDir(), "tls.crt"), filepath.Join(c.CertDir(), "tls.key")); err != nil {
			return err
		}
	}
	if err := c.Cluster.WriteKubeconfig(kubeconfig, c.User); err != nil {
		return err
	}
	if c.Own != nil {
		if err := c.Own.Allow(ctx, c.Cluster, c.User); err != nil {
			return err
		}
	}
	return createAll(ctx, c.Cluster.Admin, granted("", c.User, c.User, object{
		"apiGroups": []string{""}, "resources": []string{"serviceaccounts"}, "verbs": []string{"get"},
	}))
}

// Allow grants a user what keeping the certificate needs, as the chart does.
func (o OwnCertificate) Allow(ctx context.Context, c *cluster.Cluster, user string) error {
	verbs := []string{"get", "watch", "patch"}
	objects := granted("", user+"-certificate", user, object{
		"apiGroups": []string{"admissionregistration.k8s.io"}, "resources": []string{"mutatingwebhookconfigurations"},
		"resourceNames": []string{o.Configuration}, "verbs": verbs,
	})
	maps.Copy(objects, granted(o.Namespace, user+"-certificate", user, object{
		"apiGroups": []string{""}, "resources": []string{"secrets"}, "resourceNames": []string{contract.WebhookSecret}, "verbs": verbs,
	}))
	return createAll(ctx, c.Admin, objects)
}

// granted is a role of one rule and its binding to a user, in a namespace or,
// without one, in the cluster.
func granted(namespace, name, user string, rule object) map[string]object {
	path, kind := "/apis/rbac.authorization.k8s.io/v1/", "ClusterRole"
	if namespace != "" {
		path, kind = path+"namespaces/"+namespace+"/", "Role"
	}
	return map[string]object{
		path + strings.ToLower(kind) + "s": {"metadata": object{"name": name}, "rules": []object{rule}},
		path + strings.ToLower(kind) + "bindings": {
			"metadata": object{"name": name},
			"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
			"subjects": []object{{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}},
		},
	}
}

type object = map[string]any

// createAll creates objects by their collection's path; those that exist stay.
func createAll(ctx context.Context, client *cluster.Client, objects map[string]object) error {
	for path, o := range objects {
		if _, err := client.Do(ctx, "POST", path, o, nil); err != nil {
			if status, ok := errors.AsType[*cluster.StatusError](err); !ok || status.Code != 409 {
				return err
			}
		}
	}
	return nil
}

// Registration says for which pods the API server calls a webhook.
type Registration struct {
	// Name of the MutatingWebhookConfiguration. Default: the product's own.
	Name string
	// Addr is where the webhook serves, host:port.
	Addr string
	// CABundle signed its certificate. Default: the cluster's CA.
	CABundle []byte
	// Namespaces restricts it to these, so that tests share a control plane.
	// Default: all.
	Namespaces []string
	// Excluding leaves out namespaces with the label admission: off, and pods with the
	// label leave: out.
	Excluding bool
	// Silent webhooks change nothing, so it can't be seen whether they are called.
	Silent bool
}

// Register makes the API server call a webhook for labelled pods, in the form that
// the product installs, and returns when it does so in the first namespace (or
// default). There must be a service account default.
func Register(ctx context.Context, c *cluster.Cluster, r Registration) error {
	if r.Name == "" {
		r.Name = contract.WebhookConfiguration
	}
	if r.CABundle == nil {
		r.CABundle = c.CA.PEM
	}
	webhook := object{
		"name":                    contract.WebhookName,
		"admissionReviewVersions": []string{"v1"},
		"sideEffects":             "None",
		"failurePolicy":           "Fail",
		"reinvocationPolicy":      "IfNeeded",
		"matchPolicy":             "Equivalent",
		"clientConfig":            object{"url": "https://" + r.Addr + contract.WebhookPath, "caBundle": r.CABundle},
		"objectSelector":          object{"matchLabels": object{contract.UseLabel: contract.UseLabelValue}},
		"rules": []object{{
			"apiGroups": []string{""}, "apiVersions": []string{"v1"}, "operations": []string{"CREATE"}, "resources": []string{"pods"},
		}},
	}
	namespace := "default"
	if len(r.Namespaces) > 0 {
		namespace = r.Namespaces[0]
		webhook["namespaceSelector"] = object{"matchExpressions": []object{{
			"key": "kubernetes.io/metadata.name", "operator": "In", "values": r.Namespaces,
		}}}
	}
	if r.Excluding {
		webhook["namespaceSelector"] = object{"matchExpressions": []object{{"key": "admission", "operator": "NotIn", "values": []string{"off"}}}}
		webhook["matchConditions"] = []object{{"name": "not-left-out", "expression": `object.metadata.?labels["leave"].orValue("") != "out"`}}
	}
	if _, err := c.Admin.Do(ctx, "POST", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
		object{"metadata": object{"name": r.Name}, "webhooks": []object{webhook}}, nil); err != nil {
		return fmt.Errorf("register the webhook: %w", err)
	}
	if r.Silent {
		return nil
	}
	return waitInjected(ctx, c, namespace)
}

// waitInjected creates pods, without keeping them, until one comes back injected.
func waitInjected(ctx context.Context, c *cluster.Cluster, namespace string) error {
	pod := object{
		"metadata": object{"name": "probe", "labels": object{contract.UseLabel: contract.UseLabelValue}},
		"spec":     object{"containers": []object{{"name": "app", "image": "app:1"}}},
	}
	for {
		var created json.RawMessage
		_, err := c.Admin.Do(ctx, "POST", "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", pod, &created)
		if err == nil && bytes.Contains(created, []byte(contract.EnvTenantID)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the webhook is not called: %w", ctx.Err()), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// servingWatcher passes a log on and waits for the line that tells the addresses.
type servingWatcher struct {
	to    io.Writer
	found chan struct{}

	mu   sync.Mutex
	seen bytes.Buffer
	line *servingLine
}

type servingLine struct {
	Msg, Addr, Health, Metrics string
}

func (w *servingWatcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.to != nil {
		if _, err := w.to.Write(p); err != nil {
			return 0, err
		}
	}
	if w.line != nil {
		return len(p), nil
	}
	w.seen.Write(p)
	for line := range bytes.Lines(slices.Clone(w.seen.Bytes())) {
		var s servingLine
		if json.Unmarshal(line, &s) == nil && s.Msg == "serving" {
			w.line = &s
			close(w.found)
			break
		}
	}
	return len(p), nil
}

func (w *servingWatcher) serving() servingLine {
	w.mu.Lock()
	defer w.mu.Unlock()
	return *w.line
}

func (w *servingWatcher) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(w.seen.String())
}
