package e2e_test

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/kube"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"azwi/contract"
	"azwi/images"
)

const (
	release = "workload-identity-webhook"
	// upstreamImage is what upstream's release v1.6.0 names. Our webhook stands in for
	// its program, as it takes its flags, environment and Secret.
	upstreamImage = "mcr.microsoft.com/oss/azure/workload-identity/webhook:v1.6.0"
)

// TestUpgradeFromUpstream: helm upgrade takes a release of upstream's over. What runs
// goes on, and whoever creates pods meanwhile notices nothing.
func TestUpgradeFromUpstream(t *testing.T) {
	w := start(t)
	const namespace = "upgrade"
	before := w.snapshot(t)
	w.importUpstream(t)
	helm := w.helm(t)
	if err := helm.install(t, filepath.Join(w.root, "test", "chart", "testdata", "upstream"), map[string]any{"azureTenantID": w.values()["azureTenantID"]}); err != nil {
		t.Fatal(err)
	}
	withdraw := w.grantStandIn(t)
	w.waitRolledOut(t, system)
	w.waitInjecting(t)
	withdraw()

	w.newNamespace(t, namespace, nil)
	pod := w.pod("running", appImage, "identity")
	if _, err := w.kube.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	running := w.waitPod(t, namespace, pod.Name, corev1.PodRunning)
	secret := w.certificate(t)
	old := w.webhookPods(t, system)
	creations := w.startCreating(t.Context(), true)
	values := w.values()
	values["image"] = map[string]any{"release": w.version}
	values["proxy"] = map[string]any{"caConfigMap": caConfig, "image": map[string]any{"release": w.version}}
	if err := helm.upgrade(t, w.chart(), false, values); err != nil {
		t.Fatal(err)
	}
	w.waitRolledOut(t, system)
	w.waitGone(t, system, old) // until then they answer, with what they know
	wantLog(t, w.run(t, namespace, w.pod("secret", workloadImage)), greeting)
	if made, err := creations.stop(); err != nil || made == 0 {
		t.Errorf("%d pods created meanwhile, then %v", made, err)
	}
	after, err := w.kube.CoreV1().Pods(namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
	if err != nil || after.UID != running.UID || after.Status.Phase != corev1.PodRunning || after.Status.ContainerStatuses[0].RestartCount > 0 {
		t.Errorf("the pod that ran is %+v, %v", after.Status, err)
	}
	if now := w.certificate(t); string(now["tls.crt"]) != string(secret["tls.crt"]) || string(now["ca.crt"]) != string(secret["ca.crt"]) {
		t.Error("the certificate was replaced, though it was valid")
	}
	if err := helm.uninstall(t); err != nil {
		t.Fatal(err)
	}
	w.wantNothingLeft(t, before)
}

func (w *world) certificate(t *testing.T) map[string][]byte {
	t.Helper()
	secret, err := w.kube.CoreV1().Secrets(system).Get(t.Context(), contract.WebhookSecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return secret.Data
}

// importUpstream gives the node an image of upstream's name: our webhook as /manager.
func (w *world) importUpstream(t *testing.T) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "manager")
	from, err := os.Open(filepath.Join(w.root, "dist", "linux-"+runtime.GOARCH, "azwi-webhook"))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(binary, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	w.importManager(t, upstreamImage, binary)
}

// importManager gives the node an image of upstream's name with a program, which has
// to be named manager.
func (w *world) importManager(t *testing.T, reference, binary string) {
	t.Helper()
	image, err := images.Build(t.Context(), images.Spec{
		Reference: reference, Title: "manager", Binary: binary, User: images.NonRoot, Licence: filepath.Join(w.root, "LICENSE"),
	})
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "upstream.tar")
	if err := image.WriteArchive(archive); err != nil {
		t.Fatal(err)
	}
	if err := w.ImportImage(t.Context(), archive); err != nil {
		t.Fatal(err)
	}
}

// grantStandIn lets the program that stands in for upstream's write the caBundle by a
// patch, for which upstream has no right: it updates. It returns how to end that.
func (w *world) grantStandIn(t *testing.T) (withdraw func()) {
	t.Helper()
	const name = "e2e-stand-in"
	rbac := w.kube.RbacV1()
	if _, err := rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{"admissionregistration.k8s.io"}, Resources: []string{"mutatingwebhookconfigurations"}, Verbs: []string{"patch"},
		}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "azure-wi-webhook-admin", Namespace: system}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return func() {
		for _, err := range []error{
			rbac.ClusterRoles().Delete(t.Context(), name, metav1.DeleteOptions{}),
			rbac.ClusterRoleBindings().Delete(t.Context(), name, metav1.DeleteOptions{}),
		} {
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// chart is the product's.
func (w *world) chart() string { return filepath.Join(w.root, "charts", "workload-identity-webhook") }

// helm is Helm, as a user calls it.
type helm struct {
	world  *world
	config *action.Configuration
}

func (w *world) helm(t *testing.T) *helm {
	t.Helper()
	flags, namespace := genericclioptions.NewConfigFlags(false), system
	flags.KubeConfig, flags.Namespace = &w.Kubeconfig, &namespace
	h := &helm{world: w, config: action.NewConfiguration()}
	if err := h.config.Init(flags, namespace, "secret"); err != nil {
		t.Fatal(err)
	}
	return h
}

// install installs the chart of a folder. Options change what Helm would do.
func (h *helm) install(t *testing.T, dir string, values map[string]any, options ...func(*action.Install)) error {
	t.Helper()
	loaded, err := loader.LoadDir(dir)
	if err != nil {
		return err
	}
	i := action.NewInstall(h.config)
	i.ReleaseName, i.Namespace, i.CreateNamespace, i.WaitStrategy = release, system, true, kube.HookOnlyStrategy
	for _, option := range options {
		option(i)
	}
	_, err = i.RunWithContext(t.Context(), loaded, values)
	return err
}

func (h *helm) upgrade(t *testing.T, dir string, reuseValues bool, values map[string]any) error {
	t.Helper()
	loaded, err := loader.LoadDir(dir)
	if err != nil {
		return err
	}
	u := action.NewUpgrade(h.config)
	u.Namespace, u.ReuseValues, u.WaitStrategy = system, reuseValues, kube.HookOnlyStrategy
	_, err = u.RunWithContext(t.Context(), release, loaded, values)
	return err
}

func (h *helm) rollback(t *testing.T) error {
	t.Helper()
	r := action.NewRollback(h.config)
	r.WaitStrategy = kube.HookOnlyStrategy
	return r.Run(release)
}

// uninstall also removes the namespace, which helm uninstall leaves to the user.
func (h *helm) uninstall(t *testing.T) error {
	t.Helper()
	u := action.NewUninstall(h.config)
	u.WaitStrategy = kube.HookOnlyStrategy
	if _, err := u.Run(release); err != nil {
		return err
	}
	return h.world.kube.CoreV1().Namespaces().Delete(t.Context(), system, metav1.DeleteOptions{})
}
