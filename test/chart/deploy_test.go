package chart_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"azwi/contract"
	"azwi/internal/install"
	"azwi/internal/token/entra"
)

// TestDeploy: once envsubst has filled the manifests in, the API server takes every
// object, and nothing is left to fill in.
func TestDeploy(t *testing.T) {
	if err := control.Start(t).CreateNamespace(t.Context(), install.DefaultNamespace); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"azure-wi-webhook.yaml", "azure-wi-policy.yaml"} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile("../../deploy/" + name)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range entra.Clouds() {
				if name == "azure-wi-policy.yaml" && !bytes.Contains(text, []byte(`"`+strings.ToUpper(c.AzName)+`":"`+c.AuthorityHost+`"`)) {
					t.Errorf("%s does not know the cloud %s", name, c.AzName)
				}
			}
			filled := envsubst(string(text), "")
			objects := decode(t, filled)
			for _, o := range objects {
				if o.Kind() == "Namespace" { // that they are in is there by then
					continue
				}
				dryRun(t, o)
				if data, ok := o["data"].(object); ok && o.Kind() == "ConfigMap" && (data["AZURE_TENANT_ID"] != tenant || data["AZURE_ENVIRONMENT"] != "") {
					t.Errorf("the settings are %v", data)
				}
			}
			images := strings.Count(filled, registry+"/azwi/")
			if len(objects) < 5 || images != 2 {
				t.Errorf("%d objects, %d images", len(objects), images)
			}
		})
	}
}

// TestDeployedCloud: pods get the authority of the cloud that AZURE_ENVIRONMENT names.
func TestDeployedCloud(t *testing.T) {
	h := newHelm(t)
	text, err := os.ReadFile("../../deploy/azure-wi-policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range decode(t, envsubst(string(text), "azureusgovernment")) {
		if o.Kind() == "Namespace" {
			continue
		}
		path, err := o.Ref().Path()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.cluster.Admin.Do(t.Context(), "POST", path[:strings.LastIndex(path, "/")], object(o), nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := h.cluster.Admin.Do(context.WithoutCancel(t.Context()), "DELETE", path, nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	pod := object{
		"metadata": object{"name": "p", "labels": object{contract.UseLabel: contract.UseLabelValue}},
		"spec":     object{"containers": []object{{"name": "app", "image": "app:1"}}},
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		var created struct {
			Spec struct {
				Containers []struct {
					Env []struct{ Name, Value string }
				}
			}
		}
		_, err := h.cluster.Admin.Do(ctx, "POST", "/api/v1/namespaces/"+h.namespace+"/pods?dryRun=All", pod, &created)
		if err == nil && len(created.Spec.Containers) == 1 && len(created.Spec.Containers[0].Env) > 0 {
			env := map[string]string{}
			for _, e := range created.Spec.Containers[0].Env {
				env[e.Name] = e.Value
			}
			if got := env[contract.EnvAuthorityHost]; got != "https://login.microsoftonline.us/" || env[contract.EnvTenantID] != tenant {
				t.Errorf("the pod has %v", env)
			}
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("no pod was injected: %v", err)
		case <-tick.C: // policies take effect within a second or so
		}
	}
}

// envsubst fills in a manifest as GNU envsubst does.
func envsubst(text, cloud string) string {
	return os.Expand(text, func(key string) string {
		value, known := map[string]string{"AZURE_TENANT_ID": tenant, "AZURE_ENVIRONMENT": cloud, "AZWI_IMAGE_REGISTRY": registry}[key]
		if !known {
			return "$" + key // a pattern's, which envsubst leaves
		}
		return value
	})
}

func decode(t *testing.T, text string) []install.Object {
	t.Helper()
	var objects []install.Object
	for d := utilyaml.NewYAMLToJSONDecoder(strings.NewReader(text)); ; {
		var o install.Object
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
}
