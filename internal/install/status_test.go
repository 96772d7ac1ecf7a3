package install

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/kube"
)

// certificate is one that signs itself, in PEM and base64 as Secrets have it.
func certificate(t *testing.T, notAfter time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: notAfter.Add(-24 * time.Hour), NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// TestStatusFindings breaks an installation in each way that status knows.
func TestStatusFindings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		installed := newFakeCluster(t)
		if err := installed.install(EngineWebhook); err != nil {
			t.Fatal(err)
		}
		configuration := pathOf(t, webhookConfigurationRef(contract.WebhookConfiguration))
		deployment, record := pathOf(t, deploymentRef(DefaultNamespace)), pathOf(t, installed.record().ref())
		secret := pathOf(t, kube.Ref{APIVersion: "v1", Kind: "Secret", Namespace: DefaultNamespace, Name: contract.WebhookSecret})
		good, other := certificate(t, now.Add(soon+time.Hour)), certificate(t, now.Add(soon+time.Hour))
		serve := func(f *fakeCluster, held, trusted string) {
			f.objects[secret] = with(f.objects[secret], held, "data", "tls.crt")
			f.webhook(configuration, func(w map[string]any) map[string]any { return with(w, trusted, "clientConfig", "caBundle") })
		}
		serve(installed, good, good)
		phase := func(p Phase) func(f *fakeCluster) {
			return func(f *fakeCluster) {
				r := f.record()
				r.Phase, r.Complete = p, false
				o, err := r.object()
				if err != nil {
					t.Fatal(err)
				}
				f.objects[record] = o
			}
		}
		for _, test := range []struct {
			name string
			harm func(f *fakeCluster)
			want []finding.Code
		}{
			{"nothing is wrong", func(*fakeCluster) {}, nil},
			{"an installation was interrupted", phase(""), []finding.Code{finding.CodeInterrupted}},
			{"a trial was interrupted", phase(PhaseTrial), []finding.Code{finding.CodeInterrupted, finding.CodeDriftUnknown}},
			{"a removal was interrupted", phase(PhaseRemoval), []finding.Code{finding.CodeInterrupted, finding.CodeDriftUnknown}},
			{"an uninstallation was interrupted", phase(PhaseUninstall), []finding.Code{finding.CodeInterrupted, finding.CodeDriftUnknown}},
			{"no registration", func(f *fakeCluster) { f.remove(configuration) }, []finding.Code{finding.CodeNotRegistered, finding.CodePodNotInjected, finding.CodeDrift}},
			{
				"no webhook", func(f *fakeCluster) { f.objects[configuration] = with(f.objects[configuration], []any{}, "webhooks") },
				[]finding.Code{finding.CodeNotRegistered, finding.CodePodNotInjected, finding.CodeDrift},
			},
			{
				"failurePolicy", func(f *fakeCluster) {
					f.webhook(configuration, func(w map[string]any) map[string]any { return with(w, "Ignore", "failurePolicy") })
				}, []finding.Code{finding.CodeFailurePolicy, finding.CodeDrift},
			},
			{"no Deployment", func(f *fakeCluster) { f.remove(deployment) }, []finding.Code{finding.CodeDeploymentMissing, finding.CodeDrift}},
			{
				"replicas", func(f *fakeCluster) {
					f.objects[deployment] = with(f.objects[deployment], 0, "status", "availableReplicas")
				},
				[]finding.Code{finding.CodeReplicas},
			},
			{"no certificate", func(f *fakeCluster) { serve(f, "", good) }, []finding.Code{finding.CodeCertificateMissing}},
			{
				"another PEM", func(f *fakeCluster) {
					serve(f, base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), good)
				}, []finding.Code{finding.CodeCertificateUnreadable},
			},
			{"expired", func(f *fakeCluster) { c := certificate(t, now); serve(f, c, c) }, []finding.Code{finding.CodeCertificateExpired}},
			{"expires", func(f *fakeCluster) { c := certificate(t, now.Add(soon-time.Hour)); serve(f, c, c) }, []finding.Code{finding.CodeCertificateExpires}},
			{"no bundle", func(f *fakeCluster) { serve(f, good, "") }, []finding.Code{finding.CodeBundle}},
			{"another bundle", func(f *fakeCluster) { serve(f, good, other) }, []finding.Code{finding.CodeBundle}},
			{"a webhook that fails", func(f *fakeCluster) { f.broken[EngineWebhook] = true }, []finding.Code{finding.CodePodRefused}},
			{"no right to create pods", func(f *fakeCluster) { f.noPods = true }, []finding.Code{finding.CodeNotReadable}},
			{
				"a pod without identity", func(f *fakeCluster) {
					f.objects["/api/v1/namespaces/shop/pods/web"] = Object{"kind": "Pod", "metadata": map[string]any{
						"name": "web", "namespace": "shop", "labels": map[string]any{contract.UseLabel: contract.UseLabelValue},
					}}
				}, []finding.Code{finding.CodePodsWithoutIdentity},
			},
			{"a pod without the label", running("web", nil, ""), []finding.Code{finding.CodePodsWithoutLabel}},
			{"a pod with a stale identity", running("web", map[string]any{contract.InjectedForAnnotation: "web"}, anotherID), []finding.Code{finding.CodePodsWithStaleIdentity}},
			{"a pod with its identity", running("web", map[string]any{contract.InjectedForAnnotation: "web"}, tenantID), nil},
			{"a pod of its own making", running("web", nil, anotherID), nil},
			{"a pod of another service account", running("other", nil, ""), nil},
		} {
			f := installed.clone(t)
			test.harm(f)
			s, err := ReadStatus(t.Context(), f.client(), "v1", now)
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			var codes []finding.Code
			for _, found := range slices.Concat(s.Problems, s.Warnings, s.Unknown) {
				codes = append(codes, found.Code())
			}
			if diff := cmp.Diff(test.want, codes); diff != "" {
				t.Errorf("%s: %s\n%v", test.name, diff, s.Problems)
			}
		}
		s, err := ReadStatus(t.Context(), installed.client(), "v2", now)
		if err != nil || len(s.Unknown) != 1 || s.Unknown[0].Code() != finding.CodeDriftUnknown {
			t.Errorf("another version: %+v, %v", s, err)
		}
		s, err = ReadStatus(t.Context(), upstream(t).client(), "v1", now)
		if err != nil || !slices.Contains(s.Unknown, finding.DriftNotRecorded()) {
			t.Errorf("another owner: %+v, %v", s, err)
		}
	})
}

const anotherID = "22222222-2222-2222-2222-222222222222"

// running has the service account web name a client ID, and a pod run, with the client ID
// that it got, if any.
func running(account string, annotations map[string]any, clientID string) func(*fakeCluster) {
	container := map[string]any{"name": "app"}
	if clientID != "" {
		container["env"] = []any{
			map[string]any{"name": contract.EnvClientID, "value": clientID}, map[string]any{"name": contract.EnvFederatedTokenFile, "value": "/token"},
		}
	}
	return func(f *fakeCluster) {
		f.objects["/api/v1/namespaces/shop/serviceaccounts/web"] = Object{"kind": "ServiceAccount", "metadata": map[string]any{
			"name": "web", "namespace": "shop", "annotations": map[string]any{contract.ClientIDAnnotation: tenantID},
		}}
		f.objects["/api/v1/namespaces/shop/pods/web"] = Object{
			"kind": "Pod", "metadata": map[string]any{"name": "web", "namespace": "shop", "annotations": annotations},
			"spec": map[string]any{"serviceAccountName": account, "containers": []any{container}},
		}
	}
}

// webhook changes the first webhook of a registration.
func (f *fakeCluster) webhook(configuration string, change func(map[string]any) map[string]any) {
	w, _ := lookup(f.objects[configuration], "webhooks", 0).(map[string]any)
	f.objects[configuration] = with(f.objects[configuration], []any{change(w)}, "webhooks")
}

// What programs read keeps its form, whatever is found.
func TestStatusJSON(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status Status
		want   string
	}{
		{Status{}, `[] [] []`},
		{
			Status{Problems: []finding.Finding{finding.PodNotInjected("shop")}, Unknown: []finding.Finding{finding.DriftNotRecorded()}},
			`["a labelled pod in namespace shop is not injected"] ["drift: only what azwi installed can be compared"] ` +
				`[{"code":"pod-not-injected","severity":"error","text":"a labelled pod in namespace shop is not injected"},` +
				`{"code":"drift-unknown","severity":"info","text":"drift: only what azwi installed can be compared"}]`,
		},
	} {
		raw, err := json.Marshal(&test.status)
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Problems, Unknown, Findings json.RawMessage }
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, string(got.Problems)+" "+string(got.Unknown)+" "+string(got.Findings)); diff != "" {
			t.Error(diff)
		}
	}
}
