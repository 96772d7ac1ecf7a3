package admission_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"azwi/contract"
	"azwi/test/cluster"
	"azwi/test/product"
)

var (
	control cluster.Shared
	webhook = built{race: true}
	// released is built as releases are: what it uses is what users see.
	released built
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	for _, b := range []*built{&webhook, &released} {
		if b.dir, err = os.MkdirTemp("", "azwi-admission-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(b.dir)
	}
	control.Config.AuditPods = true
	return control.Run(m)
}

// built is the webhook's binary, made by the first test that needs it.
type built struct {
	dir    string
	race   bool
	once   sync.Once
	binary string
	err    error
}

func (b *built) get(t *testing.T) string {
	t.Helper()
	b.once.Do(func() {
		b.binary, b.err = product.Build(context.WithoutCancel(t.Context()), b.dir, "azwi-webhook", b.race)
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.binary
}

type object = map[string]any

// newNamespace makes a namespace for one test.
func newNamespace(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	name, err := c.NewNamespace(t.Context(), "admission")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// startWebhook runs the real binary and ends it with the test, which fails if the
// webhook did not end well.
func startWebhook(t *testing.T, config product.WebhookConfig) *product.Webhook {
	t.Helper()
	if config.Binary == "" {
		config.Binary = webhook.get(t)
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
func createPod(ctx context.Context, c *cluster.Cluster, namespace string, pod any) (created createdPod, err error) {
	_, err = c.Admin.Do(ctx, "POST", "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", pod, &created)
	return created, err
}

func statusCode(err error) int {
	if s, ok := errors.AsType[*cluster.StatusError](err); ok {
		return s.Code
	}
	return 0
}
