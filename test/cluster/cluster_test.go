package cluster_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"azwi/test/cluster"
)

var control cluster.Shared

// crashVariable makes this test binary a process that starts a control plane and waits to be killed.
const crashVariable = "AZWI_TEST_START_AND_WAIT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashVariable); dir != "" {
		startAndWait(dir)
	}
	os.Exit(control.Run(m))
}

func TestKubeModuleHasVersion(t *testing.T) {
	content, err := os.ReadFile("kube/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := "k8s.io/kubernetes " + cluster.Version + "\n"; !strings.Contains(string(content), want) {
		t.Errorf("kube/go.mod does not require %q", want)
	}
}

// Where the whole binary is built, as in CI, no second one is.
func TestServersOnlyTakesTheWholeBinary(t *testing.T) {
	c := control.Start(t)
	got, err := cluster.Build(t.Context(), cluster.BuildConfig{ServersOnly: true})
	if err != nil || got != c.Binary {
		t.Errorf("%s, %v, want %s", got, err, c.Binary)
	}
}

func TestServerVersion(t *testing.T) {
	c := control.Start(t)
	var got struct{ GitVersion, Major, Minor string }
	if _, err := c.Admin.Do(t.Context(), http.MethodGet, "/version", nil, &got); err != nil {
		t.Fatal(err)
	}
	if got.GitVersion != cluster.Version || !strings.HasPrefix(cluster.Version, "v"+got.Major+"."+got.Minor+".") {
		t.Errorf("the server says %+v, want %s", got, cluster.Version)
	}
}

// What an issuer must show to anybody, and nothing more.
func TestAnonymousSeesIssuerOnly(t *testing.T) {
	c := control.Start(t)
	var discovery struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if _, err := c.Anonymous().Do(t.Context(), http.MethodGet, "/.well-known/openid-configuration", nil, &discovery); err != nil {
		t.Fatal(err)
	}
	if discovery.Issuer != c.Issuer || discovery.JWKSURI != c.URL+"/openid/v1/jwks" {
		t.Errorf("discovery says %+v, want issuer %s", discovery, c.Issuer)
	}
	var keys struct{ Keys []struct{ Alg, Kid string } }
	if _, err := c.Anonymous().Do(t.Context(), http.MethodGet, strings.TrimPrefix(discovery.JWKSURI, c.URL), nil, &keys); err != nil {
		t.Fatal(err)
	}
	if len(keys.Keys) != 1 || keys.Keys[0].Alg != "RS256" || keys.Keys[0].Kid == "" {
		t.Errorf("keys are %+v, want one for RS256", keys.Keys)
	}
	wantRefusal(t, c.Anonymous(), "/api/v1/namespaces", http.StatusForbidden)
}

func TestClientCertificateIsUserInGroups(t *testing.T) {
	c := control.Start(t)
	client, err := c.As("jane", "readers", "writers")
	if err != nil {
		t.Fatal(err)
	}
	var review struct {
		Status struct {
			UserInfo struct {
				Username string
				Groups   []string
			}
		}
	}
	in := []byte(`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`)
	if _, err := client.Do(t.Context(), http.MethodPost, "/apis/authentication.k8s.io/v1/selfsubjectreviews", in, &review); err != nil {
		t.Fatal(err)
	}
	user := review.Status.UserInfo
	if user.Username != "jane" || !slices.Contains(user.Groups, "readers") || !slices.Contains(user.Groups, "writers") {
		t.Errorf("the server takes it for %+v", user)
	}
	wantRefusal(t, client, "/api/v1/namespaces/default/pods", http.StatusForbidden)
}

func TestPodInNewNamespace(t *testing.T) {
	c := control.Start(t)
	namespace, err := c.NewNamespace(t.Context(), "pods")
	if err != nil {
		t.Fatal(err)
	}
	pods := "/api/v1/namespaces/" + namespace + "/pods"
	var pod struct {
		Spec struct{ ServiceAccountName string }
	}
	if _, err := c.Admin.Do(t.Context(), http.MethodPost, pods, podNamed("one"), &pod); err != nil {
		t.Fatal(err)
	}
	if pod.Spec.ServiceAccountName != "default" {
		t.Errorf("its service account is %q", pod.Spec.ServiceAccountName)
	}
	patch := map[string]any{"metadata": map[string]any{"labels": map[string]string{"a": "b"}}}
	if _, err := c.Admin.Do(t.Context(), http.MethodPatch, pods+"/one", patch, nil); err != nil {
		t.Error(err)
	}
	list := []any{map[string]string{"op": "test", "path": "/metadata/labels/a", "value": "b"}}
	if _, err := c.Admin.Do(t.Context(), http.MethodPatch, pods+"/one", list, nil); err != nil {
		t.Error(err)
	}
}

// A webhook on loopback is called, its warnings arrive, and the API server shows
// it a client certificate that the cluster's authority signed.
func TestWebhookIsCalledWithClientCertificate(t *testing.T) {
	c := control.Start(t)
	namespace, err := c.NewNamespace(t.Context(), "hooked")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := c.CA.Server("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	callers := make(chan string, 100)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		callers <- r.TLS.PeerCertificates[0].Subject.CommonName
		var review struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Request    struct {
				UID string `json:"uid"`
			} `json:"request"`
		}
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer := map[string]any{"apiVersion": review.APIVersion, "kind": review.Kind, "response": map[string]any{
			"uid": review.Request.UID, "allowed": true, "warnings": []string{`it said "hello"`},
		}}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    c.CA.Pool(),
	}
	server.StartTLS()
	t.Cleanup(server.Close)

	configuration := map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1",
		"kind":       "MutatingWebhookConfiguration",
		"metadata":   map[string]any{"name": namespace},
		"webhooks": []any{map[string]any{
			"name":                    "hooked.azwi.test",
			"admissionReviewVersions": []string{"v1"},
			"sideEffects":             "None",
			"clientConfig":            map[string]any{"url": server.URL, "caBundle": c.CA.PEM},
			"namespaceSelector":       map[string]any{"matchLabels": map[string]string{"kubernetes.io/metadata.name": namespace}},
			"rules": []any{map[string]any{
				"apiGroups": []string{""}, "apiVersions": []string{"v1"}, "operations": []string{"CREATE"}, "resources": []string{"pods"},
			}},
		}},
	}
	const configurations = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
	if _, err := c.Admin.Do(t.Context(), http.MethodPost, configurations, configuration, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The server that it names is about to end.
		if _, err := c.Admin.Do(context.WithoutCancel(t.Context()), http.MethodDelete, configurations+"/"+namespace, nil, nil); err != nil {
			t.Error(err)
		}
	})
	var warnings []string
	for len(warnings) == 0 { // the API server calls it some 0.15 s after its registration
		warnings, err = c.Admin.Do(t.Context(), http.MethodPost, "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", podNamed("one"), nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if want := []string{`it said "hello"`}; !slices.Equal(warnings, want) {
		t.Errorf("warnings are %q, want %q", warnings, want)
	}
	if caller := <-callers; caller != "kube-apiserver" {
		t.Errorf("the caller's certificate is for %q", caller)
	}
}

func TestKubeconfigServesKubectl(t *testing.T) {
	c := control.Start(t)
	kubectl := filepath.Join(t.TempDir(), "kubectl")
	if err := os.Symlink(c.Binary, kubectl); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]string{c.Kubeconfig: "admin", writeKubeconfig(t, c, "jane"): "jane"} {
		out, err := exec.CommandContext(t.Context(), kubectl, "--kubeconfig="+user, "auth", "whoami", "-o=jsonpath={.status.userInfo.username}").CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("kubectl says %q, %v; want %q", out, err, want)
		}
	}
}

func TestSecretsAreNotWorldReadable(t *testing.T) {
	c := control.Start(t)
	err := filepath.WalkDir(c.Dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() && path != c.Dir {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 && info.Mode().IsRegular() {
			t.Errorf("%s: %s", path, info.Mode())
		}
		if path == c.Dir && info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStopLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cluster")
	c, err := cluster.Start(t.Context(), cluster.Config{Dir: dir, ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	state, err := cluster.LoadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if running, ended := state.Split(); len(running) != 3 || len(ended) != 0 || !state.Ready {
		t.Errorf("while it runs, its state is %+v", state)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if running, _ := state.Split(); len(running) != 0 {
		t.Errorf("%+v still run", running)
	}
	if err := c.Stop(); err != nil {
		t.Errorf("stopped again: %v", err)
	}
	if err := cluster.RemoveData(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// A process that is killed has no chance to stop its control plane.
func TestControlPlaneDiesWithItsParent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.CommandContext(t.Context(), executable)
	parent.Env = append(os.Environ(), crashVariable+"="+dir)
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if line != "started\n" {
		t.Errorf("it said %q, %v", line, err)
	}
	state, err := cluster.LoadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if running, _ := state.Split(); len(running) != 2 {
		t.Errorf("before the crash %+v run, want etcd and kube-apiserver", running)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait() //nolint:errcheck // it was killed
	deadline := time.Now().Add(10 * time.Second)
	for {
		running, _ := state.Split()
		if len(running) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("10 s after their parent %+v still run", running)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestStartNamesWhoHasThePort(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	_, err = cluster.Start(t.Context(), cluster.Config{EtcdPort: port})
	taken, ok := errors.AsType[*cluster.PortError](err)
	if !ok {
		t.Fatalf("error is %v", err)
	}
	if taken.Port != port || taken.PID != os.Getpid() || !strings.Contains(taken.Command, filepath.Base(os.Args[0])) {
		t.Errorf("error is %+v, want port %d and process %d", taken, port, os.Getpid())
	}
}

func TestFailedStartShowsLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := cluster.Start(t.Context(), cluster.Config{Dir: dir, APIServerFlags: []string{"--no-such-flag"}})
	if err == nil || !regexp.MustCompile(`(?s)kube-apiserver ended while it started: exit status 1.*kube-apiserver\.log:.*unknown flag: --no-such-flag`).MatchString(err.Error()) {
		t.Errorf("error is %v", err)
	}
	if state, err := cluster.LoadState(dir); err != nil || len(state.Processes) != 0 {
		t.Errorf("it left %+v, %v", state, err)
	}
}

// The id of a process that has ended may be given to another, which must live.
func TestStopSparesProcessWithReusedID(t *testing.T) {
	t.Parallel()
	bystander := exec.CommandContext(t.Context(), "sleep", "60")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	ended := cluster.Process{Name: "etcd", PID: bystander.Process.Pid, Birth: "some other boot-1"}
	if err := ended.Stop(time.Second); err != nil {
		t.Error(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- bystander.Wait() }()
	select {
	case err := <-exited:
		t.Errorf("the bystander ended: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
}

func startAndWait(dir string) {
	// Should nobody kill it, it ends by itself.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) //nolint:forbidigo // no test runs here
	defer cancel()
	if _, err := cluster.Start(ctx, cluster.Config{Dir: dir}); err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Stdout.WriteString("started\n")
	<-ctx.Done()
	os.Exit(1)
}

func wantRefusal(t *testing.T, client *cluster.Client, path string, code int) {
	t.Helper()
	_, err := client.Do(t.Context(), http.MethodGet, path, nil, nil)
	if status, ok := errors.AsType[*cluster.StatusError](err); !ok || status.Code != code {
		t.Errorf("GET %s: %v, want %d", path, err, code)
	}
}

func writeKubeconfig(t *testing.T, c *cluster.Cluster, user string, groups ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := c.WriteKubeconfig(file, user, groups...); err != nil {
		t.Fatal(err)
	}
	return file
}

func podNamed(name string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"containers": []any{map[string]any{"name": "app", "image": "none"}}},
	}
}
