package admission_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"azwi/contract"
	"azwi/test/cluster"
	"azwi/test/product"
)

var (
	control cluster.Shared
	binary  = sync.OnceValues(func() (string, error) { return product.Build(context.Background(), buildDir, "azwi-webhook", true) })

	buildDir string
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if buildDir, err = os.MkdirTemp("", "azwi-admission-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(buildDir) //nolint:errcheck // a temporary folder
	return control.Run(m)
}

type object = map[string]any

// newNamespace makes a namespace for one test.
func newNamespace(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-", " ", "-").Replace(t.Name()))
	if len(name) > 63 {
		name = name[:63]
	}
	name = strings.Trim(strings.Map(func(r rune) rune {
		if r == '.' || r == ':' || r == ',' {
			return '-'
		}
		return r
	}, name), "-")
	if err := c.CreateNamespace(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return name
}

// startWebhook runs the real binary and ends it with the test, which fails if the
// webhook did not end well.
func startWebhook(t *testing.T, config product.WebhookConfig) *product.Webhook {
	t.Helper()
	var err error
	if config.Binary, err = binary(); err != nil {
		t.Fatal(err)
	}
	if config.Dir == "" {
		config.Dir = t.TempDir()
	}
	if config.Log == nil {
		config.Log = t.Output()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, err := product.StartWebhook(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Stop(20 * time.Second); err != nil {
			t.Errorf("azwi-webhook ended badly: %v", err)
		}
	})
	return w
}

// register registers a webhook for the test's namespace and removes it afterwards.
func register(t *testing.T, c *cluster.Cluster, r product.Registration) {
	t.Helper()
	if r.Name == "" {
		r.Name = r.Namespaces[0]
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	t.Cleanup(func() {
		path := "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/" + r.Name
		if _, err := c.Admin.Do(context.WithoutCancel(t.Context()), "DELETE", path, nil, nil); err != nil {
			t.Errorf("remove the registration: %v", err)
		}
	})
	if err := product.Register(ctx, c, r); err != nil {
		t.Fatal(err)
	}
}

func createAccount(ctx context.Context, c *cluster.Cluster, namespace, name, clientID string) error {
	_, err := c.Admin.Do(ctx, "POST", "/api/v1/namespaces/"+namespace+"/serviceaccounts", object{
		"metadata": object{"name": name, "annotations": object{contract.ClientIDAnnotation: clientID}},
	}, nil)
	return err
}

func podOf(name, account string) object {
	return object{
		"metadata": object{"name": name, "labels": object{contract.UseLabel: contract.UseLabelValue}},
		"spec":     object{"serviceAccountName": account, "containers": []object{{"name": "app", "image": "app:1"}}},
	}
}

// createdPod is what a test looks at in an answer.
type createdPod struct {
	Spec struct {
		InitContainers []createdContainer `json:"initContainers"`
		Containers     []createdContainer `json:"containers"`
		Volumes        []struct {
			Name string `json:"name"`
		} `json:"volumes"`
	} `json:"spec"`
}

type createdContainer struct {
	Name         string                             `json:"name"`
	Env          []struct{ Name, Value string }     `json:"env"`
	VolumeMounts []struct{ Name, MountPath string } `json:"volumeMounts"`
}

func (c createdContainer) env(name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

func (c createdContainer) mounts(path string) (volumes []string) {
	for _, m := range c.VolumeMounts {
		if m.MountPath == path {
			volumes = append(volumes, m.Name)
		}
	}
	return volumes
}

// createPod creates a pod, without keeping it, and returns it as admitted.
func createPod(ctx context.Context, c *cluster.Cluster, namespace string, pod any) (created createdPod, warnings []string, err error) {
	warnings, err = c.Admin.Do(ctx, "POST", "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", pod, &created)
	return created, warnings, err
}

func statusCode(err error) int {
	if s, ok := errors.AsType[*cluster.StatusError](err); ok {
		return s.Code
	}
	return 0
}

func toJSON(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
