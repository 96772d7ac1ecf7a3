package chart_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"azwi/internal/entra"
	"azwi/internal/install"
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
			filled := os.Expand(string(text), func(key string) string {
				value, known := map[string]string{"AZURE_TENANT_ID": tenant, "AZURE_ENVIRONMENT": "", "AZWI_IMAGE_REGISTRY": registry}[key]
				if !known {
					return "$" + key // a pattern's, which envsubst leaves
				}
				return value
			})
			objects, images := 0, strings.Count(filled, registry+"/azwi/")
			for d := utilyaml.NewYAMLToJSONDecoder(strings.NewReader(filled)); ; objects++ {
				var o install.Object
				err := d.Decode(&o)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if o.Kind() == "Namespace" { // that they are in is there by then
					continue
				}
				dryRun(t, o)
				if data, ok := o["data"].(object); ok && o.Kind() == "ConfigMap" && (data["AZURE_TENANT_ID"] != tenant || data["AZURE_ENVIRONMENT"] != "") {
					t.Errorf("the settings are %v", data)
				}
			}
			if objects < 5 || images != 2 {
				t.Errorf("%d objects, %d images", objects, images)
			}
		})
	}
}
