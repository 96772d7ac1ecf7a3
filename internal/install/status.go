package install

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/kube"
	"azwi/internal/pod/policy"
	"azwi/internal/pod/workload"
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
	// PodsWithoutLabel were never injected either, and their service account has a client ID.
	PodsWithoutLabel []Pod `json:"podsWithoutLabel"`
	// PodsWithStaleIdentity have a client ID that their service account no longer names.
	PodsWithStaleIdentity []Pod `json:"podsWithStaleIdentity"`
	// Problems are all that is wrong.
	Problems []finding.Finding `json:"-"`
	// Warnings are what may be meant.
	Warnings []finding.Finding `json:"-"`
	// Unknown is what could not be found out, and why.
	Unknown []finding.Finding `json:"-"`
	// Unread: some of that could not be read, mostly for lack of rights.
	Unread bool `json:"-"`
}

// MarshalJSON writes problems, warnings and what is unknown in words, and all of them as
// findings.
func (s *Status) MarshalJSON() ([]byte, error) {
	type members Status
	texts := func(findings []finding.Finding) []string {
		all := make([]string, len(findings))
		for i, f := range findings {
			all[i] = f.Text()
		}
		return all
	}
	return json.Marshal(struct {
		*members
		Problems []string          `json:"problems"`
		Warnings []string          `json:"warnings"`
		Unknown  []string          `json:"unknown"`
		Findings []finding.Finding `json:"findings"`
	}{(*members)(s), texts(s.Problems), texts(s.Warnings), texts(s.Unknown), append([]finding.Finding{}, slices.Concat(s.Problems, s.Warnings, s.Unknown)...)})
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
	s, found, err := c.serving(ctx, now)
	if err != nil || s == nil {
		return nil, err
	}
	c.injectionStatus(ctx, found, s)
	c.driftStatus(ctx, found, s, version)
	c.podStatus(ctx, s)
	return s, nil
}

// ReadServing is ReadStatus without what takes long or tries pods: injection, drift and
// the pods without identity.
func ReadServing(ctx context.Context, client *kube.Client, now time.Time) (*Status, error) {
	c, err := connect(ctx, client)
	if err != nil {
		return nil, err
	}
	s, _, err := c.serving(ctx, now)
	return s, err
}

// serving is who injects, and how it is. Nil: nothing is installed.
func (c *cluster) serving(ctx context.Context, now time.Time) (*Status, *Installation, error) {
	s := &Status{Kubernetes: c.version, Drift: []string{}, PodsWithoutIdentity: []Pod{}, PodsWithoutLabel: []Pod{}, PodsWithStaleIdentity: []Pod{}}
	found, err := c.discover(ctx)
	if kube.IsForbidden(err) {
		s.unknown("what is installed", err)
		found, err = c.discoverDeployment(ctx)
	}
	if err != nil || found == nil {
		return nil, nil, err
	}
	s.Owner, s.Namespace, s.Release, s.Engine = found.Owner, found.Namespace, found.Release, found.Engine
	if r := found.record; r != nil {
		s.Version, s.Target, s.Phase = r.Version, r.Target, r.Phase
		if !r.Complete {
			s.problem(r.interrupted())
		}
	}
	if found.Engine == EngineWebhook {
		c.webhookStatus(ctx, found, s, now)
	}
	return s, found, nil
}

// discoverDeployment is discover for those who may not read how the API server asks
// engines. The result is never nil.
func (c *cluster) discoverDeployment(ctx context.Context) (*Installation, error) {
	found := &Installation{Owner: OwnerUnknown, Namespace: DefaultNamespace}
	deployment, err := c.find(ctx, deploymentRef(DefaultNamespace))
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
func (r *record) interrupted() finding.Finding {
	switch r.Phase {
	case PhaseTrial:
		return finding.Interrupted(r.Serving, r.Target)
	case PhaseRemoval:
		return finding.RemovalInterrupted(r.Serving, other(r.Serving))
	case PhaseUninstall:
		return finding.UninstallInterrupted()
	}
	return finding.InstallInterrupted()
}

func (s *Status) problem(f finding.Finding) { s.Problems = append(s.Problems, f) }

func (s *Status) unknown(what string, err error) {
	s.Unread = true
	s.Unknown = append(s.Unknown, finding.NotReadable(what, err))
}

func (c *cluster) webhookStatus(ctx context.Context, found *Installation, s *Status, now time.Time) {
	configuration, err := c.webhookConfiguration(ctx)
	if err != nil {
		s.unknown("the webhook's registration", err)
		c.replicaStatus(ctx, found, s, false)
		return
	}
	if configuration == nil {
		s.problem(finding.NotRegistered(contract.WebhookConfiguration))
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
		s.problem(finding.NoWebhook(configuration.Name()))
		return
	}
	w := registered.Webhooks[0]
	if w.FailurePolicy == "Ignore" {
		s.problem(finding.FailurePolicyIgnore())
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
	err := c.Read(ctx, deploymentRef(found.Namespace), &d)
	switch {
	case kube.IsNotFound(err) && !required:
		return
	case kube.IsNotFound(err):
		s.problem(finding.DeploymentMissing(deploymentName))
		return
	case err != nil:
		s.unknown("replicas", err)
		return
	}
	s.Replicas = &Replicas{Wanted: d.Spec.Replicas, Ready: d.Status.AvailableReplicas}
	if s.Version == "" && len(d.Spec.Template.Spec.Containers) > 0 {
		s.Version = imageTag(d.Spec.Template.Spec.Containers[0].Image)
	}
	if !d.ready() || d.Spec.Replicas == 0 {
		s.problem(d.notReady(found.Namespace))
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
	err := c.Read(ctx, kube.Ref{APIVersion: "v1", Kind: "Secret", Namespace: found.Namespace, Name: secret}, &o)
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
			s.problem(finding.CertificateMissing(found.Namespace + "/" + secret))
		}
		return
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		s.problem(finding.CertificateUnreadable(found.Namespace+"/"+secret, err))
		return
	}
	s.Certificate = &Certificate{certificate.NotAfter.UTC()}
	switch left := certificate.NotAfter.Sub(now); {
	case left <= 0:
		s.problem(finding.CertificateExpired(certificate.NotAfter))
	case left < soon:
		s.problem(finding.CertificateExpires(certificate.NotAfter))
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		s.problem(finding.BundleEmpty(contract.WebhookConfiguration))
		return
	}
	if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: certificate.NotBefore.Add(time.Second)}); err != nil {
		s.problem(finding.BundleWrong(contract.WebhookConfiguration, err))
	}
}

// injectionStatus admits a pod as the probe's account, or whichever there is.
func (c *cluster) injectionStatus(ctx context.Context, found *Installation, s *Status) {
	namespace, account := found.Namespace, "default"
	for _, name := range []string{probeAccount, contract.WebhookServiceAccount} {
		if o, err := c.find(ctx, kube.AccountRef(namespace, name)); err == nil && o != nil {
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
		s.problem(finding.PodRefused(namespace, err))
	case tenant == "":
		s.problem(finding.PodNotInjected(namespace))
	}
}

// mayCreatePods is nil if the user may.
func (c *cluster) mayCreatePods(ctx context.Context, namespace string) error {
	allowed, err := c.May(ctx, "create", "pods", namespace)
	if err == nil && !allowed {
		err = finding.PodsNotCreatable(namespace).Err(nil)
	}
	return err
}

// driftStatus compares with what this version would apply with the same values.
func (c *cluster) driftStatus(ctx context.Context, found *Installation, s *Status, version string) {
	r := found.record
	switch {
	case r == nil:
		s.Unknown = append(s.Unknown, finding.DriftNotRecorded())
		return
	case r.Phase != "":
		s.Unknown = append(s.Unknown, finding.DriftUnfinished(string(r.Phase)))
		return
	case r.Version != version:
		s.Unknown = append(s.Unknown, finding.DriftOtherVersion(r.Version, version))
		return
	}
	objects, _, err := Render(ctx, Release{
		Name: r.Release, Namespace: r.namespace, Values: r.Values, Version: r.Version, Kubernetes: c.version, APIVersions: c.apiVersions,
	})
	if err != nil {
		s.unknown("drift", err)
		return
	}
	wanted := make([]kube.Wanted, len(objects))
	for i, o := range objects {
		wanted[i] = kube.Wanted{Ref: o.Ref(), Differences: func(ctx context.Context, installed map[string]any) ([]string, error) {
			return c.differences(ctx, o, installed)
		}}
	}
	refused, refusal := 0, error(nil)
	for found := range c.Walk(ctx, wanted) {
		switch found.State {
		case kube.Forbidden:
			refused, refusal = refused+1, found.Err
		case kube.Failed:
			s.unknown("drift of "+found.Ref.String(), found.Err)
		case kube.Missing:
			s.Drift = append(s.Drift, found.Ref.String()+" is gone")
		default:
			s.Drift = append(s.Drift, found.Differences...)
		}
	}
	if refused > 0 {
		s.unknown(fmt.Sprintf("drift of %d of %d objects", refused, len(objects)), refusal)
	}
	if len(s.Drift) > 0 {
		s.problem(finding.Drift(len(s.Drift)))
	}
}

// differences has the API server apply the object without keeping the result, and
// tells where that differs from what there is.
func (c *cluster) differences(ctx context.Context, o, installed Object) ([]string, error) {
	request := kube.Apply(o.Ref(), manager, o)
	request.DryRun = true
	var applied Object
	if _, err := c.Do(ctx, request, &applied); err != nil {
		return nil, err
	}
	var lines []string
	policy.Compare("", map[string]any(trimManaged(applied)), map[string]any(trimManaged(installed)), func(at, _ string) {
		lines = append(lines, fmt.Sprintf("%s: %s", o.Ref(), strings.TrimPrefix(at, ".")))
	})
	return lines, nil
}

// podStatus compares the running pods with their service accounts.
func (c *cluster) podStatus(ctx context.Context, s *Status) {
	clientIDs, err := c.clientIDs(ctx)
	selector := ""
	switch {
	case errors.Is(err, context.Canceled):
		return
	case err != nil: // labelled pods can be judged without
		s.unknown("pods without label, and with stale identity", err)
		selector = contract.UseLabel + "=" + contract.UseLabelValue
	}
	err = c.List(ctx, kube.Ref{APIVersion: "v1", Kind: "Pod"}, selector, func(raw json.RawMessage) error {
		var pod workload.Running
		if err := json.Unmarshal(raw, &pod); err != nil {
			return err
		}
		if !pod.Runs() {
			return nil
		}
		clientID, known := clientIDs[pod.Metadata.Namespace+"/"+pod.Account()]
		found, _ := pod.Judge(clientID, known)
		of := Pod{pod.Metadata.Namespace, pod.Metadata.Name}
		switch found.Code() {
		case finding.CodePodWithoutIdentity:
			s.PodsWithoutIdentity = append(s.PodsWithoutIdentity, of)
		case finding.CodeLabelMissing:
			s.PodsWithoutLabel = append(s.PodsWithoutLabel, of)
		case finding.CodeStaleIdentity:
			s.PodsWithStaleIdentity = append(s.PodsWithStaleIdentity, of)
		}
		return nil
	})
	switch {
	case errors.Is(err, context.Canceled):
		return
	case err != nil:
		s.unknown("pods without identity", err)
		return
	}
	if n := len(s.PodsWithoutIdentity); n > 0 {
		s.problem(finding.PodsWithoutIdentity(n))
	}
	if n := len(s.PodsWithStaleIdentity); n > 0 {
		s.problem(finding.PodsWithStaleIdentity(n))
	}
	if n := len(s.PodsWithoutLabel); n > 0 {
		s.Warnings = append(s.Warnings, finding.PodsWithoutLabel(n))
	}
}

// clientIDs are those of the service accounts that have one, by NAMESPACE/NAME.
func (c *cluster) clientIDs(ctx context.Context) (map[string]string, error) {
	ids := map[string]string{}
	err := c.List(ctx, kube.Ref{APIVersion: "v1", Kind: "ServiceAccount"}, "", func(raw json.RawMessage) error {
		var o struct {
			Metadata struct {
				Namespace, Name string
				Annotations     map[string]string
			}
		}
		err := json.Unmarshal(raw, &o)
		if id := o.Metadata.Annotations[contract.ClientIDAnnotation]; id != "" {
			ids[o.Metadata.Namespace+"/"+o.Metadata.Name] = id
		}
		return err
	})
	return ids, err
}
