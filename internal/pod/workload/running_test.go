package workload_test

import (
	"encoding/json"
	"testing"

	"azwi/internal/finding"
	"azwi/internal/pod/workload"
)

// A running pod is compared with its service account, and its workload is named.
func TestJudge(t *testing.T) {
	t.Parallel()
	const (
		id       = "33333333-0000-4000-8000-000000000002"
		former   = "33333333-0000-4000-8000-000000000003"
		labels   = `"labels":{"azure.workload.identity/use":"true","pod-template-hash":"7c9f"}`
		marked   = labels + `,"annotations":{"azure.workload.identity/injected-for":"orders"}`
		injected = `{"name":"app","env":[{"name":"AZURE_FEDERATED_TOKEN_FILE","value":"/t"},{"name":"AZURE_CLIENT_ID","value":"` + former + `"}]}`
		nothing  = `{"name":"app","env":[{"name":"AZURE_FEDERATED_TOKEN_FILE","value":"/t"}]}`
		plain    = `{"name":"app"}`
	)
	for _, test := range []struct {
		name, metadata, container, clientID string
		known                               bool
		want                                finding.Code
	}{
		{"labelled too late", labels, plain, id, true, finding.CodePodWithoutIdentity},
		{"labelled too late, account unknown", labels, plain, "", false, finding.CodePodWithoutIdentity},
		{"not labelled", `"labels":{}`, plain, id, true, finding.CodeLabelMissing},
		{"not labelled, no client ID", `"labels":{}`, plain, "", true, ""},
		{"not labelled, account unknown", `"labels":{}`, plain, "", false, ""},
		{"not labelled, not a client ID", `"labels":{}`, plain, "orders", true, ""},
		{"stale", marked, injected, id, true, finding.CodeStaleIdentity},
		{"stale, account unknown", marked, injected, "", false, ""},
		{"as its account says", marked, injected, former, true, ""},
		{"a client ID of its own", labels, injected, id, true, ""},
		{"no client ID", marked, nothing, "", true, finding.CodeClientIDMissing},
	} {
		var p workload.Running
		raw := `{"metadata":{"name":"orders-7c9f-x","namespace":"shop",` + test.metadata +
			`,"ownerReferences":[{"kind":"ReplicaSet","name":"orders-7c9f","controller":true}]},"spec":{"containers":[` + test.container + `]}}`
		if err := json.Unmarshal([]byte(raw), &p); err != nil {
			t.Fatal(err)
		}
		f, wrong := p.Judge(test.clientID, test.known)
		if f.Code() != test.want || wrong != (test.want != "") {
			t.Errorf("%s: %s, want %q", test.name, f, test.want)
		}
		want := "ReplicaSet shop/orders-7c9f"
		if p.Metadata.Labels["pod-template-hash"] != "" {
			want = "Deployment shop/orders"
		}
		if got := p.Workload().String(); got != want || p.Account() != "default" || !p.Runs() {
			t.Errorf("%s: %s, want %s", test.name, got, want)
		}
	}
}
