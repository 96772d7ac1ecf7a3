package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"azwi/images"
	"azwi/test/cluster"
	"azwi/test/product"
)

const (
	clientID = "33333333-0000-4000-8000-000000000002"
	account  = "app" // the service account in every namespace of the tests
	// The images of programs that stand for a user's.
	workloadImage = "azwi-test/workload:1"
	appImage      = "azwi-test/app:1"
)

// namespaces are those whose service account is federated.
func namespaces() []string {
	var all []string
	for _, engine := range []string{"webhook", "policy"} {
		for _, scenario := range []string{"quickstart", "redirect", "plain", "env", "quota", "job", "scale"} {
			all = append(all, engine+"-"+scenario)
		}
	}
	return append(all, "rotation", "upgrade", doctorNamespace)
}

// world is what the tests share.
type world struct {
	*cluster.Cluster
	kube    kubernetes.Interface
	entra   *product.Emulator
	ca      string // of the local Entra, PEM
	dir     string
	root    string // the repository
	version string // of the images

	installed bool
	before    map[string]bool // the cluster's objects before anything was installed

	// isToken also finds token volumes. Optional.
	isToken func(corev1.Volume) bool
}

var shared struct {
	once sync.Once
	*world
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.world != nil {
		if err := shared.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// start returns the cluster with the images of make images and a local Entra; the
// first call starts them.
func start(t *testing.T) *world {
	t.Helper()
	if os.Getenv("AZWI_E2E") == "" {
		t.Skip("make e2e runs this test")
	}
	cluster.RequireNode(t)
	shared.once.Do(func() {
		shared.world, shared.err = newWorld(context.WithoutCancel(t.Context()))
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.world
}

func newWorld(ctx context.Context) (_ *world, err error) {
	w := &world{}
	if w.dir, err = os.MkdirTemp("", "azwi-e2e-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.stop())
		}
	}()
	if w.root, err = product.Root(ctx); err != nil {
		return nil, err
	}
	archives, err := w.archives(ctx)
	if err != nil {
		return nil, err
	}
	if w.Cluster, err = cluster.Start(ctx, cluster.Config{Node: true, Images: archives}); err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", w.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst, config.WarningHandler = 1000, 1000, rest.NoWarnings{}
	if w.kube, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	return w, w.startEntra(ctx)
}

// archives are the product's images, which make images made, and those of the
// programs that stand for a user's.
func (w *world) archives(ctx context.Context) ([]string, error) {
	released, err := filepath.Glob(filepath.Join(w.root, "dist", "images", "*-linux-"+runtime.GOARCH+".tar"))
	if err != nil || len(released) != 3 {
		return nil, fmt.Errorf("want the three images of `make images`, found %q, %w", released, err)
	}
	image, err := images.ReadArchive(released[0], w.dir)
	if err != nil {
		return nil, err
	}
	w.version = image.Reference.TagStr()
	for reference, source := range map[string]string{workloadImage: "./demo/workload", appImage: "./e2e/cmd/app"} {
		archive, err := w.buildImage(ctx, reference, source)
		if err != nil {
			return nil, err
		}
		released = append(released, archive)
	}
	return released, nil
}

// buildImage makes an image of a program of this module.
func (w *world) buildImage(ctx context.Context, reference, source string) (archive string, err error) {
	name := filepath.Base(source)
	binary := filepath.Join(w.dir, name)
	if err := product.BuildTest(ctx, binary, source); err != nil {
		return "", err
	}
	image, err := images.Build(ctx, images.Spec{
		Reference: reference, Title: name, Binary: binary, User: images.NonRoot, Licence: filepath.Join(w.root, "LICENSE"),
	})
	if err != nil {
		return "", err
	}
	archive = filepath.Join(w.dir, name+".tar")
	return archive, image.WriteArchive(archive)
}

// startEntra starts the local Entra on this machine's end of the node's link.
func (w *world) startEntra(ctx context.Context) error {
	type object = map[string]any
	var credentials []object
	for _, namespace := range namespaces() {
		credentials = append(credentials, object{
			"name": namespace, "issuer": w.Issuer, "subject": "system:serviceaccount:" + namespace + ":" + account,
		})
	}
	seed, err := json.Marshal(object{
		"tenants":           []object{{"id": product.TenantID}},
		"subscriptions":     []object{{"id": "22222222-0000-4000-8000-000000000001", "name": "e2e", "resourceGroups": []object{{"name": "shop", "location": "westeurope"}}}},
		"managedIdentities": []object{{"name": "orders", "resourceGroup": "shop", "clientId": clientID, "federatedCredentials": credentials}},
		"roleAssignments":   []object{{"role": "Key Vault Secrets User", "principal": "orders"}},
		"vaults":            []object{{"name": "shop", "resourceGroup": "shop", "secrets": object{"greeting": "hello from the vault"}}},
		"issuers":           object{w.Issuer: object{"url": w.URL + "/openid/v1/jwks", "caFile": w.CAFile}},
		// The real directory takes minutes to learn of a new credential; here it takes none.
		"replication": object{"minDelay": "0s", "maxDelay": "0s", "missMemory": "0s", "writeTime": "0s"},
	})
	if err != nil {
		return err
	}
	file := filepath.Join(w.dir, "seed.json")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		return err
	}
	binary, err := product.Build(ctx, w.dir, "azwi-emulator", false)
	if err != nil {
		return err
	}
	w.entra, err = product.StartEmulator(ctx, product.EmulatorConfig{
		Binary: binary, Dir: filepath.Join(w.dir, "entra"), Seed: file,
		Args: []string{"--listen=" + w.HostIP + ":0", "--insecure-allow-remote"},
	})
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(w.entra.CAFile)
	w.ca = string(ca)
	return err
}

func (w *world) vault() string { return strings.TrimSuffix(w.entra.Authority, "/") + "/vaults/shop" }

func (w *world) stop() error {
	var errs []error
	if w.entra != nil {
		errs = append(errs, w.entra.Stop(5*time.Second))
	}
	if w.Cluster != nil {
		errs = append(errs, w.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(w.dir))...)
}
