package cluster

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"azwi/test/process"
)

// Config says what control plane to start. Its zero value is a good one for tests.
type Config struct {
	// Dir is the folder for its data, certificates, logs and kubeconfig. A
	// cluster that was stopped in a folder goes on there with its objects and
	// its authority. Default: a new temporary folder, which Stop removes.
	Dir string
	// APIPort and EtcdPort are the ports on 127.0.0.1. Default: free ones. A
	// taken one is a *PortError.
	APIPort, EtcdPort int
	// Issuer is the issuer of service account tokens, an https URL. Default:
	// the API server's own URL, so that its discovery document can be fetched.
	Issuer string
	// ControllerManager starts the kube-controller-manager as well: namespaces
	// get their default service account, Deployments their pods. Without a node
	// these stay pending.
	ControllerManager bool
	// Node adds a node, and with it the controller manager and the scheduler: pods
	// run. It needs Linux, root and a few Debian packages; see CheckNode. All but
	// two of its programs are in a network of its own, which a link joins to the
	// machine's: nothing listens on loopback, and APIPort and EtcdPort mean nothing.
	Node bool
	// Images are archives of images that the node is to have. It can't pull any.
	Images []string
	// APIServerFlags are added to the API server's. One that is there already
	// is replaced, unless it is one that may be given several times.
	APIServerFlags []string
	// AuditPods has the API server write an audit log of pod creations; see
	// Cluster.Audited.
	AuditPods bool
	// Detached leaves the processes running when this one ends.
	Detached bool
	// StartTimeout bounds the start, not counting a build of the binary.
	// Default: 2 minutes (it takes 3 to 4 seconds on an idle machine).
	StartTimeout time.Duration
	// Build says where the Kubernetes binary is made and kept.
	Build BuildConfig
}

// Cluster is a running control plane.
type Cluster struct {
	// Dir is its folder.
	Dir string
	// URL is the API server's: https://127.0.0.1:PORT, or the node's address.
	URL string
	// EtcdURL is etcd's: http://127.0.0.1:PORT, or the node's address.
	EtcdURL string
	// HostIP is this machine's address as the node and its pods reach it; empty
	// without a node.
	HostIP string
	// Issuer is the issuer of its service account tokens. Anybody may read the
	// discovery document and the keys from the API server.
	Issuer string
	// Kubeconfig is the file of the administrator, who may do anything.
	Kubeconfig string
	// CA signs the API server's certificate and all others; CAFile holds its certificate.
	CA     *CA
	CAFile string
	// Admin is a client with the administrator's rights.
	Admin *Client
	// Binary is the multi-call Kubernetes binary: kubectl and more.
	Binary string

	children  []*child // in the order of their start
	node      *node    // nil without one
	apiServer func(context.Context) error
	temporary bool // Dir is ours to remove
	started   time.Time
}

// errRetry marks a start that failed because a port that was free was taken meanwhile.
var errRetry = errors.New("a port was taken meanwhile")

// Start starts a control plane and returns when it is ready. The context and
// Config.StartTimeout bound the start only: the processes run until Stop, or
// until this process ends unless Config.Detached. An error holds the end of the
// log of the program that failed, and leaves nothing running.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	binary, err := Build(ctx, cfg.Build)
	if err != nil {
		return nil, err
	}
	if cfg.StartTimeout == 0 {
		cfg.StartTimeout = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.StartTimeout)
	defer cancel()

	for attempt := 1; ; attempt++ {
		c, err := startOnce(ctx, cfg, binary)
		if err == nil || attempt == 3 || !errors.Is(err, errRetry) {
			return c, err
		}
	}
}

func startOnce(ctx context.Context, cfg Config, binary string) (_ *Cluster, err error) {
	c := &Cluster{Dir: cfg.Dir, Binary: binary, started: time.Now()}
	if c.Dir == "" {
		c.temporary = true
		if c.Dir, err = os.MkdirTemp("", "azwi-cluster-"); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return nil, err
	}
	for _, dir := range []string{c.path("pki"), c.path("log")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	ports, err := c.place(ctx, cfg)
	if err != nil {
		return nil, err
	}
	c.Issuer = cfg.Issuer
	if c.Issuer == "" {
		c.Issuer = c.URL
	}
	if err := c.writeFiles(); err != nil {
		return nil, err
	}
	flags, err := c.chosenAPIServerFlags(cfg)
	if err != nil {
		return nil, err
	}

	etcd, err := c.start("etcd", cfg.Detached, c.etcdFlags())
	if err != nil {
		return nil, err
	}
	if err := c.wait(ctx, etcd, c.etcdReady); err != nil {
		return nil, retryIfTaken(err, etcd, cfg.EtcdPort == 0, ports.etcd)
	}
	var apiServer *child
	c.apiServer = func(ctx context.Context) (err error) {
		if apiServer, err = c.start("kube-apiserver", cfg.Detached, c.apiServerFlags(ports.api, flags)); err != nil {
			return err
		}
		return c.wait(ctx, apiServer, c.apiServerReady)
	}
	if err := c.apiServer(ctx); err != nil {
		return nil, retryIfTaken(err, apiServer, cfg.APIPort == 0, ports.api)
	}
	if err := c.wait(ctx, apiServer, c.allowDiscovery); err != nil {
		return nil, err
	}
	if err := c.ensureDefaultAccount(ctx, cfg, apiServer); err != nil {
		return nil, err
	}
	if cfg.Node {
		if err := c.startKubelet(ctx, cfg); err != nil {
			return nil, err
		}
	}
	return c, c.saveState(true)
}

// ports are those of the two servers.
type ports struct{ api, etcd int }

// place decides where the servers listen: on loopback, or in the node's network,
// which it makes.
func (c *Cluster) place(ctx context.Context, cfg Config) (p ports, err error) {
	ip := loopback
	if cfg.Node {
		if err := c.startNode(ctx, cfg); err != nil {
			return p, err
		}
		ip, p = c.node.place.node.String(), ports{api: nodeAPIPort, etcd: nodeEtcdPort}
	} else {
		if p.api, err = choosePort(cfg.APIPort); err != nil {
			return p, err
		}
		if p.etcd, err = choosePort(cfg.EtcdPort); err != nil {
			return p, err
		}
	}
	c.URL = "https://" + net.JoinHostPort(ip, strconv.Itoa(p.api))
	c.EtcdURL = "http://" + net.JoinHostPort(ip, strconv.Itoa(p.etcd))
	return p, nil
}

// chosenAPIServerFlags are those that come after the necessary ones.
func (c *Cluster) chosenAPIServerFlags(cfg Config) (flags []string, err error) {
	if cfg.Node {
		if flags, err = c.nodeAPIServerFlags(); err != nil {
			return nil, err
		}
	}
	if cfg.AuditPods {
		audit, err := c.auditFlags()
		if err != nil {
			return nil, err
		}
		flags = append(flags, audit...)
	}
	return append(flags, cfg.APIServerFlags...), nil
}

// RestartAPIServer stops the API server, starts it again and returns when it is
// ready. It is given a moment to end its watches in order, which it can't: those who
// watch do not go. So it is killed, as in a crash.
func (c *Cluster) RestartAPIServer(ctx context.Context) error {
	i := slices.IndexFunc(c.children, func(child *child) bool { return child.Name == "kube-apiserver" })
	if i < 0 {
		return errors.New("restart the API server: there is none")
	}
	if err := c.children[i].Stop(2 * time.Second); err != nil {
		return err
	}
	c.children = slices.Delete(c.children, i, i+1)
	return c.apiServer(ctx)
}

// ensureDefaultAccount returns when pods can be created in the namespace default.
func (c *Cluster) ensureDefaultAccount(ctx context.Context, cfg Config, apiServer *child) error {
	if !cfg.ControllerManager && !cfg.Node {
		return c.wait(ctx, apiServer, func(ctx context.Context) error { return c.createDefaultAccount(ctx, "default") })
	}
	manager, err := c.start("kube-controller-manager", cfg.Detached, c.controllerManagerFlags())
	if err != nil {
		return err
	}
	return c.wait(ctx, manager, func(ctx context.Context) error {
		_, err := c.Admin.Do(ctx, http.MethodGet, accountsPath("default")+"/default", nil, nil)
		return err
	})
}

// Stop ends the processes and, if Start made the folder, removes it. Calling it
// again does nothing.
func (c *Cluster) Stop() error {
	var errs []error
	for _, child := range slices.Backward(c.children) {
		// The API server takes its time to say goodbye to its watchers, and a
		// cluster that nobody goes on with has nothing to save.
		grace := 10 * time.Second
		if c.temporary {
			grace = 0
		}
		errs = append(errs, child.Stop(grace))
	}
	c.children = nil
	if c.node != nil {
		errs = append(errs, removeCgroups(c.node.place.name))
	}
	if c.temporary {
		errs = append(errs, os.RemoveAll(c.Dir))
	} else {
		errs = append(errs, ForgetState(c.Dir))
	}
	return errors.Join(errs...)
}

// As returns a client that the API server knows as the user in the groups.
func (c *Cluster) As(user string, groups ...string) (*Client, error) {
	pair, err := c.CA.Client(user, groups...)
	if err != nil {
		return nil, err
	}
	certificate, err := pair.TLS()
	if err != nil {
		return nil, err
	}
	return newClient(c.URL, c.CA, certificate), nil
}

// Anonymous returns a client without a certificate. With its Token set it is
// whoever the token says, a service account for example.
func (c *Cluster) Anonymous() *Client { return newClient(c.URL, c.CA) }

// WriteKubeconfig writes a kubeconfig for the user in the groups, readable by its owner only.
func (c *Cluster) WriteKubeconfig(file, user string, groups ...string) error {
	pair, err := c.CA.Client(user, groups...)
	if err != nil {
		return err
	}
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: azwi
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: %q
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: azwi
  context: {cluster: azwi, user: %q}
current-context: azwi
`, c.URL, base64.StdEncoding.EncodeToString(c.CA.PEM), user,
		base64.StdEncoding.EncodeToString(pair.Cert), base64.StdEncoding.EncodeToString(pair.Key), user)
	return os.WriteFile(file, []byte(content), 0o600)
}

// CreateNamespace creates a namespace and, if no controller manager does it, the
// service account default in it: without that the API server takes no pod.
func (c *Cluster) CreateNamespace(ctx context.Context, name string) error {
	namespace := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}
	if _, err := c.Admin.Do(ctx, http.MethodPost, "/api/v1/namespaces", namespace, nil); err != nil {
		return err
	}
	return c.createDefaultAccount(ctx, name)
}

// NewNamespace is CreateNamespace with a name that begins with the prefix and
// that no other namespace has, for tests which share a cluster.
func (c *Cluster) NewNamespace(ctx context.Context, prefix string) (name string, err error) {
	name = prefix + "-" + strings.ToLower(rand.Text()[:8])
	return name, c.CreateNamespace(ctx, name)
}

func (c *Cluster) createDefaultAccount(ctx context.Context, namespace string) error {
	account := map[string]any{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": map[string]any{"name": "default"}}
	_, err := c.Admin.Do(ctx, http.MethodPost, accountsPath(namespace), account, nil)
	if hasCode(err, http.StatusConflict) { // the controller manager was faster
		return nil
	}
	return err
}

// allowDiscovery lets anybody read the issuer's discovery document and keys, as Entra must.
func (c *Cluster) allowDiscovery(ctx context.Context) error {
	binding := map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1",
		"kind":       "ClusterRoleBinding",
		"metadata":   map[string]any{"name": "anonymous-service-account-issuer-discovery"},
		"roleRef": map[string]any{
			"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:service-account-issuer-discovery",
		},
		"subjects": []any{map[string]any{
			"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:unauthenticated",
		}},
	}
	_, err := c.Admin.Do(ctx, http.MethodPost, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding, nil)
	if hasCode(err, http.StatusConflict) { // a cluster that goes on
		return nil
	}
	return err
}

func accountsPath(namespace string) string {
	return "/api/v1/namespaces/" + namespace + "/serviceaccounts"
}

func (c *Cluster) path(elements ...string) string {
	return filepath.Join(append([]string{c.Dir}, elements...)...)
}

// writeFiles writes what the programs read: certificates, keys and kubeconfigs.
func (c *Cluster) writeFiles() (err error) {
	if c.CA, err = loadCA(c.path("pki")); err != nil {
		return err
	}
	c.CAFile = c.path("pki", "ca.crt")
	if err := ensureServiceAccountKey(c.path("pki", "service-account.key")); err != nil {
		return err
	}
	names := []string{loopback, "localhost", "10.96.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	if c.node != nil {
		names = append(names, c.node.place.node.String())
	}
	server, err := c.CA.Server(names...)
	if err != nil {
		return err
	}
	if err := server.Write(c.path("pki", "apiserver.crt"), c.path("pki", "apiserver.key")); err != nil {
		return err
	}
	c.Kubeconfig = c.path("kubeconfig")
	if err := c.WriteKubeconfig(c.Kubeconfig, "admin", "system:masters"); err != nil {
		return err
	}
	if err := c.WriteKubeconfig(c.path("controller-manager.kubeconfig"), "system:kube-controller-manager"); err != nil {
		return err
	}
	if c.Admin, err = c.As("admin", "system:masters"); err != nil {
		return err
	}
	return c.writeAdmissionConfig()
}

// writeAdmissionConfig gives the API server a client certificate to show to the
// webhooks that it calls, so that a webhook may insist on one.
func (c *Cluster) writeAdmissionConfig() error {
	pair, err := c.CA.Client("kube-apiserver")
	if err != nil {
		return err
	}
	certFile, keyFile := c.path("pki", "webhook-client.crt"), c.path("pki", "webhook-client.key")
	if err := pair.Write(certFile, keyFile); err != nil {
		return err
	}
	kubeconfig := fmt.Sprintf(`apiVersion: v1
kind: Config
users:
- name: '*'
  user: {client-certificate: %q, client-key: %q}
`, certFile, keyFile)
	if err := os.WriteFile(c.path("webhooks.kubeconfig"), []byte(kubeconfig), 0o600); err != nil {
		return err
	}
	var plugins strings.Builder
	for _, name := range []string{"MutatingAdmissionWebhook", "ValidatingAdmissionWebhook"} {
		fmt.Fprintf(&plugins, `- name: %s
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: WebhookAdmissionConfiguration
    kubeConfigFile: %q
`, name, c.path("webhooks.kubeconfig"))
	}
	config := "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n" + plugins.String()
	return os.WriteFile(c.path("admission.yaml"), []byte(config), 0o600)
}

func (c *Cluster) etcdFlags() []string {
	return []string{
		"--name=azwi",
		"--data-dir=" + c.path("etcd"),
		"--unsafe-no-fsync", // a crash of the machine may lose data: there is none to keep
		"--listen-client-urls=" + c.EtcdURL,
		"--advertise-client-urls=" + c.EtcdURL,
		"--listen-peer-urls=unix://peer", // it has no peers: a socket in its folder instead of another port
		"--log-level=warn",
	}
}

func (c *Cluster) apiServerFlags(port int, extra []string) []string {
	return append([]string{
		"--etcd-servers=" + c.EtcdURL,
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port),
		"--endpoint-reconciler-type=none", // a loopback address is none for the Service kubernetes
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--admission-control-config-file=" + c.path("admission.yaml"),
		"--allow-privileged=true",
		"--client-ca-file=" + c.CAFile,
		"--tls-cert-file=" + c.path("pki", "apiserver.crt"),
		"--tls-private-key-file=" + c.path("pki", "apiserver.key"),
		"--service-account-issuer=" + c.Issuer,
		"--service-account-jwks-uri=" + c.URL + "/openid/v1/jwks",
		"--service-account-key-file=" + c.path("pki", "service-account.key"),
		"--service-account-signing-key-file=" + c.path("pki", "service-account.key"),
		"--service-cluster-ip-range=" + serviceRange,
	}, extra...)
}

func (c *Cluster) controllerManagerFlags() []string {
	return []string{
		"--kubeconfig=" + c.path("controller-manager.kubeconfig"),
		"--leader-elect=false",
		"--secure-port=0", // its metrics are not needed, and its default port may be taken
		"--service-account-private-key-file=" + c.path("pki", "service-account.key"),
		"--root-ca-file=" + c.CAFile,
		"--cluster-signing-cert-file=" + c.CAFile,
		"--cluster-signing-key-file=" + c.path("pki", "ca.key"),
		"--use-service-account-credentials=true",       // its own user may not do what its controllers do
		"--kube-api-qps=1000", "--kube-api-burst=1000", // its start takes 5 s longer with the defaults
	}
}

func (c *Cluster) start(name string, detached bool, flags []string) (*child, error) {
	config := process.Config{Name: name, Binary: c.Binary, Args: flags, Dir: c.Dir, Detached: detached}
	if c.node != nil {
		// It becomes the program, so that whoever signals it signals that.
		config.Binary = findProgram(os.Getenv("PATH"), "nsenter")
		config.Args = append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", c.node.init.PID), "--", c.Binary, name}, flags...)
	}
	child, err := startChild(c.path("log", name+".log"), config)
	if err != nil {
		return nil, err
	}
	c.children = append(c.children, child)
	return child, c.saveState(false)
}

// wait calls ready until it succeeds, the program ends or ctx does.
func (c *Cluster) wait(ctx context.Context, program *child, ready func(context.Context) error) error {
	poll := time.NewTicker(25 * time.Millisecond)
	defer poll.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := ready(try)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-program.running.Done():
			return fmt.Errorf("%s ended while it started: %w\n%s", program.Name, program.running.Wait(), program.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s was not ready in time: %w (last: %w)\n%s", program.Name, context.Cause(ctx), err, program.tail())
		case <-poll.C:
		}
	}
}

func (c *Cluster) etcdReady(ctx context.Context) error {
	return getOK(ctx, http.DefaultClient, c.EtcdURL+"/readyz")
}

func (c *Cluster) apiServerReady(ctx context.Context) error {
	return getOK(ctx, c.Admin.HTTP, c.URL+"/readyz")
}

func getOK(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("%s: %s: %s", url, response.Status, body)
	}
	return nil
}

// choosePort returns the wanted port if it is free, or any free one for 0.
func choosePort(wanted int) (int, error) {
	if wanted == 0 {
		return freePort()
	}
	return wanted, checkPort(wanted)
}

// retryIfTaken marks err if the process ended and somebody else has the port
// that was chosen for it.
func retryIfTaken(err error, program *child, chosen bool, port int) error {
	select {
	case <-program.running.Done():
		if chosen && checkPort(port) != nil {
			return errors.Join(errRetry, err)
		}
	default:
	}
	return err
}
