package install

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"azwi/contract"
	"azwi/internal/kube"
)

// Status is how an installation is.
type Status struct {
	Owner Owner `json:"owner"`
	// Namespace of the webhook, or of azwi's record.
	Namespace string `json:"namespace"`
	Release   string `json:"release,omitempty"`
	// Engine is the one that serves. Empty: unknown.
	Engine string `json:"engine"`
	// Target and Phase are there where a switch of engines was interrupted, Phase also
	// where an uninstallation was.
	Target string `json:"target,omitempty"`
	Phase  Phase  `json:"phase,omitempty"`
	// Version is that of azwi's record, or the tag of the webhook's image.
	Version    string `json:"version,omitempty"`
	Kubernetes string `json:"kubernetes"`
	// Replicas is there with the webhook.
	Replicas *Replicas `json:"replicas,omitempty"`
	// Certificate is there where it can be read.
	Certificate *Certificate `json:"certificate,omitempty"`
	// Injection: a labelled pod was injected when this was asked (dry run). Nil:
	// unknown.
	Injection *bool `json:"injection"`
	// Drift tells how objects differ from what was installed.
	Drift []string `json:"drift"`
	// PodsWithoutIdentity have the label and were never injected.
	PodsWithoutIdentity []Pod `json:"podsWithoutIdentity"`
	// Problems are all that is wrong, in words.
	Problems []string `json:"problems"`
	// Unknown is what could not be found out, and why.
	Unknown []string `json:"unknown"`
	// Unread: some of that could not be read, mostly for lack of rights.
	Unread bool `json:"-"`
}

// Replicas of the webhook.
type Replicas struct {
	Wanted int64 `json:"wanted"`
	Ready  int64 `json:"ready"`
}

// Certificate is the webhook's.
type Certificate struct {
	NotAfter time.Time `json:"notAfter"`
}

// A Pod is named by where it is.
type Pod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// soon is how long before its end a certificate that nobody renewed is a problem.
const soon = 7 * 24 * time.Hour

// ReadStatus asks the API server all that a Status has. It is nil if nothing is
// installed. version is this program's.
func ReadStatus(ctx context.Context, client *kube.Client, version string, now time.Time) (*Status, error) {
	c, err := connect(ctx, client)
	if err != nil {
		return nil, err
	}
	s := &Status{Kubernetes: c.version, Drift: []string{}, PodsWithoutIdentity: []Pod{}, Problems: []string{}, Unknown: []string{}}
	found, err := c.discover(ctx)
	if kube.IsForbidden(err) {
		s.unknown("what is installed", err)
		found, err = c.discoverDeployment(ctx)
	}
	if err != nil || found == nil {
		return nil, err
	}
	s.Owner, s.Namespace, s.Release, s.Engine = found.Owner, found.Namespace, found.Release, found.Engine
	if r := found.record; r != nil {
		s.Version, s.Target, s.Phase = r.Version, r.Target, r.Phase
		if !r.Complete {
			s.problem("%s", r.interrupted())
		}
	}
	if found.Engine == EngineWebhook {
		c.webhookStatus(ctx, found, s, now)
	}
	c.injectionStatus(ctx, found, s)
	c.driftStatus(ctx, found, s, version)
	c.podStatus(ctx, s)
	return s, nil
}

// discoverDeployment is discover for those who may not read how the API server asks
// engines. The result is never nil.
func (c *cluster) discoverDeployment(ctx context.Context) (*Installation, error) {
	found := &Installation{Owner: OwnerUnknown, Namespace: DefaultNamespace}
	deployment, err := c.find(ctx, deploymentPath(DefaultNamespace))
	if kube.IsForbidden(err) || err == nil && deployment == nil {
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	found.Owner, found.Engine, found.Release = owner(deployment), EngineWebhook, deployment.label("release")
	return found, nil
}

// interrupted says what did not end, and how it does.
func (r *record) interrupted() string {
	switch r.Phase {
	case PhaseTrial:
		return fmt.Sprintf("a switch of engines, from %s to %s, was interrupted; the %s serves all pods: run azwi upgrade to continue, or azwi upgrade --engine %s to switch back",
			r.Serving, r.Target, r.Serving, r.Serving)
	case PhaseRemoval:
		return fmt.Sprintf("a switch of engines was interrupted; the %s serves all pods, and the %s is not completely removed: run azwi upgrade to finish, or azwi upgrade --engine %s to switch back",
			r.Serving, other(r.Serving), other(r.Serving))
	case PhaseUninstall:
		return "an uninstallation was interrupted: run azwi uninstall to continue, or azwi upgrade to install again"
	}
	return "an installation was begun and did not end: run azwi upgrade"
}

func (s *Status) problem(format string, args ...any) {
	s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
}

func (s *Status) unknown(what string, err error) {
	s.Unread = true
	s.Unknown = append(s.Unknown, what+": "+err.Error())
}

func (c *cluster) webhookStatus(ctx context.Context, found *Installation, s *Status, now time.Time) {
	configuration, err := c.webhookConfiguration(ctx)
	if err != nil {
		s.unknown("the webhook's registration", err)
		c.replicaStatus(ctx, found, s, false)
		return
	}
	if configuration == nil {
		s.problem("the MutatingWebhookConfiguration %s is gone: no pod is injected", contract.WebhookConfiguration)
		return
	}
	var registered struct {
		Webhooks []struct {
			ClientConfig struct {
				CABundle []byte
				URL      string
			}
			FailurePolicy string
		}
	}
	if err := convert(configuration, &registered); err != nil || len(registered.Webhooks) == 0 {
		s.problem("the MutatingWebhookConfiguration %s has no webhook: no pod is injected", configuration.Name())
		return
	}
	w := registered.Webhooks[0]
	if w.FailurePolicy == "Ignore" {
		s.problem("failurePolicy is Ignore: pods are created without identity while no replica answers")
	}
	if w.ClientConfig.URL == "" {
		c.replicaStatus(ctx, found, s, true)
	}
	c.certificateStatus(ctx, found, w.ClientConfig.CABundle, s, now)
}

// replicaStatus looks at the Deployment. It need not be there if the webhook may run
// elsewhere.
func (c *cluster) replicaStatus(ctx context.Context, found *Installation, s *Status, required bool) {
	var d deploymentStatus
	err := c.Get(ctx, deploymentPath(found.Namespace), &d)
	switch {
	case kube.IsNotFound(err) && !required:
		return
	case kube.IsNotFound(err):
		s.problem("the Deployment %s is gone: labelled pods can't be created", deploymentName)
		return
	case err != nil:
		s.unknown("replicas", err)
		return
	}
	s.Replicas = &Replicas{Wanted: d.Spec.Replicas, Ready: d.Status.AvailableReplicas}
	if s.Version == "" && len(d.Spec.Template.Spec.Containers) > 0 {
		s.Version = imageTag(d.Spec.Template.Spec.Containers[0].Image)
	}
	if !d.ready() {
		s.problem("%d of %d replicas are ready and up to date: kubectl get pods -n %s", min(d.Status.AvailableReplicas, d.Status.UpdatedReplicas), d.Spec.Replicas, found.Namespace)
	}
}

func imageTag(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		return image[i+1:]
	}
	return ""
}

func (c *cluster) certificateStatus(ctx context.Context, found *Installation, bundle []byte, s *Status, now time.Time) {
	secret := contract.WebhookSecret
	if found.record != nil {
		if name, ok := lookup(found.record.Values, "certificates", "secretName").(string); ok {
			secret = name
		}
	}
	var o struct{ Data map[string][]byte }
	err := c.Get(ctx, "/api/v1/namespaces/"+url.PathEscape(found.Namespace)+"/secrets/"+url.PathEscape(secret), &o)
	if kube.IsNotFound(err) {
		return // it is kept elsewhere, as with a webhook that runs elsewhere
	}
	if err != nil {
		s.unknown("certificate", err)
		return
	}
	block, _ := pem.Decode(o.Data["tls.crt"])
	if block == nil {
		if s.Replicas != nil {
			s.problem("the Secret %s/%s holds no certificate yet", found.Namespace, secret)
		}
		return
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		s.problem("the certificate in Secret %s/%s can't be read: %v", found.Namespace, secret, err)
		return
	}
	s.Certificate = &Certificate{certificate.NotAfter.UTC()}
	switch left := certificate.NotAfter.Sub(now); {
	case left <= 0:
		s.problem("the webhook's certificate expired at %s: labelled pods can't be created", certificate.NotAfter.UTC().Format(time.RFC3339))
	case left < soon:
		s.problem("the webhook's certificate expires at %s and was not renewed", certificate.NotAfter.UTC().Format(time.RFC3339))
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		s.problem("the caBundle of %s is empty: labelled pods can't be created", contract.WebhookConfiguration)
		return
	}
	if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: certificate.NotBefore.Add(time.Second)}); err != nil {
		s.problem("the caBundle of %s does not fit the webhook's certificate: %v", contract.WebhookConfiguration, err)
	}
}

// injectionStatus admits a pod as the probe's account, or whichever there is.
func (c *cluster) injectionStatus(ctx context.Context, found *Installation, s *Status) {
	namespace, account := found.Namespace, "default"
	for _, name := range []string{probeAccount, contract.WebhookServiceAccount} {
		if o, err := c.find(ctx, kube.AccountPath(namespace, name)); err == nil && o != nil {
			account = name
			break
		}
	}
	if found.record != nil {
		if n := found.record.probeNamespace(); n != "" {
			namespace, account = n, probeAccount
		}
	}
	// A policy's refusal looks like a lack of rights: 403.
	if err := c.mayCreatePods(ctx, namespace); err != nil {
		s.unknown("injection", err)
		return
	}
	tenant, err := c.probe(ctx, namespace, account, false)
	works := err == nil && tenant != ""
	s.Injection = &works
	switch {
	case err != nil:
		s.problem("a labelled pod can't be created in namespace %s: %v", namespace, err)
	case tenant == "":
		s.problem("a labelled pod of namespace %s is not injected", namespace)
	}
}

var errMayNotCreatePods = errors.New("you may not create pods")

// mayCreatePods is nil if the user may.
func (c *cluster) mayCreatePods(ctx context.Context, namespace string) error {
	const group = "authorization.k8s.io/v1"
	var review struct{ Status struct{ Allowed bool } }
	_, err := c.Do(ctx, kube.Request{
		Method: http.MethodPost, Path: "/apis/" + group + "/selfsubjectaccessreviews",
		Body: map[string]any{
			"apiVersion": group, "kind": "SelfSubjectAccessReview",
			"spec": map[string]any{"resourceAttributes": map[string]any{"verb": "create", "resource": "pods", "namespace": namespace}},
		},
	}, &review)
	if err == nil && !review.Status.Allowed {
		err = fmt.Errorf("%w in namespace %s, not even in a dry run", errMayNotCreatePods, namespace)
	}
	return err
}

// driftStatus compares with what this version would apply with the same values.
func (c *cluster) driftStatus(ctx context.Context, found *Installation, s *Status, version string) {
	r := found.record
	switch {
	case r == nil:
		s.Unknown = append(s.Unknown, "drift: only what azwi installed can be compared")
		return
	case r.Phase != "":
		s.Unknown = append(s.Unknown, "drift: not known before the end of the "+string(r.Phase)+" has ended")
		return
	case r.Version != version:
		s.Unknown = append(s.Unknown, fmt.Sprintf("drift: version %s is installed, and this is azwi %s: run azwi upgrade to install this version", r.Version, version))
		return
	}
	objects, _, err := Render(ctx, Release{
		Name: r.Release, Namespace: r.namespace, Values: r.Values, Version: r.Version, Kubernetes: c.version, APIVersions: c.apiVersions,
	})
	if err != nil {
		s.unknown("drift", err)
		return
	}
	refused, refusal := 0, error(nil)
	for _, o := range objects {
		differences, err := c.differences(ctx, o)
		switch {
		case kube.IsForbidden(err):
			refused, refusal = refused+1, err
		case err != nil:
			s.unknown("drift of "+o.Ref().String(), err)
		}
		s.Drift = append(s.Drift, differences...)
	}
	if refused > 0 {
		s.unknown(fmt.Sprintf("drift of %d of %d objects", refused, len(objects)), refusal)
	}
	if len(s.Drift) > 0 {
		s.problem("differences from what was installed: %d; run azwi upgrade to undo them", len(s.Drift))
	}
}

// differences has the API server apply the object without keeping the result, and
// tells where that differs from what there is.
func (c *cluster) differences(ctx context.Context, o Object) ([]string, error) {
	path, err := o.Ref().Path()
	if err != nil {
		return nil, err
	}
	live, err := c.find(ctx, path)
	if err != nil {
		return nil, err
	}
	if live == nil {
		return []string{o.Ref().String() + " is gone"}, nil
	}
	var applied Object
	if _, err := c.Apply(ctx, path, kube.Apply{Manager: manager, Force: true, DryRun: true}, o, &applied); err != nil {
		return nil, err
	}
	var lines []string
	compare("", map[string]any(trimManaged(applied)), map[string]any(trimManaged(live)), func(at string) {
		lines = append(lines, fmt.Sprintf("%s: %s", o.Ref(), strings.TrimPrefix(at, ".")))
	})
	return lines, nil
}

func compare(at string, want, have any, report func(at string)) {
	if reflect.DeepEqual(want, have) {
		return
	}
	switch w := want.(type) {
	case map[string]any:
		if h, ok := have.(map[string]any); ok {
			keys := maps.Clone(w)
			maps.Copy(keys, h)
			for _, key := range slices.Sorted(maps.Keys(keys)) {
				compare(at+"."+key, w[key], h[key], report)
			}
			return
		}
	case []any:
		if h, ok := have.([]any); ok && len(h) == len(w) {
			for i := range w {
				compare(fmt.Sprintf("%s[%d]", at, i), w[i], h[i], report)
			}
			return
		}
	}
	report(at)
}

// podStatus looks for labelled pods that nothing was injected into.
func (c *cluster) podStatus(ctx context.Context, s *Status) {
	query := url.Values{"labelSelector": {contract.UseLabel + "=" + contract.UseLabelValue}, "limit": {"500"}}
	err := c.list(ctx, "/api/v1/pods", query, func(raw json.RawMessage) error {
		var pod struct {
			Metadata struct {
				Name, Namespace string
				Annotations     map[string]string
			}
			Spec struct {
				podSpec
				Volumes []struct {
					Name      string
					Projected *struct{}
				}
			}
			Status struct{ Phase string }
		}
		if err := json.Unmarshal(raw, &pod); err != nil {
			return err
		}
		if _, mirror := pod.Metadata.Annotations[contract.MirrorPodAnnotation]; mirror || pod.Status.Phase == "Succeeded" || pod.Status.Phase == "Failed" {
			return nil
		}
		if pod.Spec.env(contract.EnvFederatedTokenFile) != "" {
			return nil
		}
		for _, v := range pod.Spec.Volumes { // with all containers skipped, the volume alone
			if v.Projected != nil && (strings.HasPrefix(v.Name, contract.VolumePrefix) || v.Name == contract.LegacyVolume) {
				return nil
			}
		}
		s.PodsWithoutIdentity = append(s.PodsWithoutIdentity, Pod{pod.Metadata.Namespace, pod.Metadata.Name})
		return nil
	})
	switch {
	case errors.Is(err, context.Canceled):
	case err != nil:
		s.unknown("pods without identity", err)
	case len(s.PodsWithoutIdentity) > 0:
		s.problem("labelled pods that were never injected: %d; delete them, so that their controllers create new ones", len(s.PodsWithoutIdentity))
	}
}
