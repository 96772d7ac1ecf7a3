package entra_test

import (
	"strconv"
	"strings"
	"testing"

	"azwi/internal/token/entra"
)

// documented are the codes that Explain knows.
func documented() map[entra.Class][]int {
	return map[entra.Class][]int{
		entra.Replication: {70021, 700211, 700212, 700213, 70025},
		entra.Transient: {
			50000, 50033, 50196, 90006, 90012, 90024, 90033, 90055, 90090, 90091, // Entra's own state
			50166, 501661, 90061, // the issuer's
		},
		entra.Permanent: {
			// Federated credentials.
			7002138, 7002131, 700233, 700234, 700235, 700237, 7002241, 70023, 70052, 700222, 700223, 700226, 700227, 700229, 700214, 700231, 700236, 700238, 7000226,
			// The client.
			700016, 700011, 70001, 7000112, 1000031, 7000229, 700025, 50105, 501051, 70002, 7000215, 7000222, 7000216, 7000218,
			// The assertion.
			700024, 50013, 500133, 700027, 50006, 50012, 700030, 900384, 7000272, 5002730, 5002738, 50032, 50027, 50048, 90016, 700023, 500131, 50010, 900612,
			// Tenant, cloud and policies.
			90002, 50059, 50128, 90019, 50049, 50050, 90051, 90038, 90043, 900382, 900432, 1000104, 50194, 90124, 90130, 9001023, 9002332,
			50002, 500021, 500022, 500212, 500213, 53003, 530003, 530032, 530035, 50131, 100007,
			// The resource.
			500011, 50001, 650052, 650054, 65001, 65005, 650056, 650057, 90008, 90094, 90009, 50003, 50146, 501461,
			// The form of the request.
			70011, 1002012, 28002, 28003, 700022, 901002, 70003, 7000114, 900144, 90014, 50029, 90004, 90010, 90013, 90015, 90023, 90056, 900561,
			90100, 90102, 90117, 90121, 9002313, 165900, 90036, 90092,
		},
	}
}

// TestExplain: every code that documentation names for token requests with client
// credentials has a class and one line of advice.
// Source: https://learn.microsoft.com/entra/identity-platform/reference-error-codes,
// Microsoft's pages on workload identity federation, and issues that quote answers.
func TestExplain(t *testing.T) {
	t.Parallel()
	for class, codes := range documented() {
		for _, code := range codes {
			got := entra.Explain(code)
			if got.Class != class {
				t.Errorf("AADSTS%d is %v, want %v", code, got.Class, class)
			}
			if got.Advice == "" || strings.Contains(got.Advice, "\n") || strings.HasSuffix(got.Advice, ".") || strings.Contains(got.Advice, "NAMESPACE") {
				t.Errorf("AADSTS%d: advice %q", code, got.Advice)
			}
		}
	}
	if got := entra.Explain(1); got != (entra.Explanation{}) {
		t.Errorf("unknown code: %+v", got)
	}
}

// TestAdviceNamesWhatWasPresented: advice about a missing credential is a command
// that can be run.
func TestAdviceNamesWhatWasPresented(t *testing.T) {
	t.Parallel()
	pod := entra.Presented{
		Issuer: "https://issuer.example.com/", Subject: "system:serviceaccount:shop:billing", Audience: "api://AzureADTokenExchange",
		ClientID: "33333333-0000-4000-8000-000000000002", TenantID: "33333333-0000-4000-8000-000000000001",
	}
	const command = "azwi serviceaccount create --service-account-namespace shop --service-account-name billing " +
		"--service-account-issuer-url https://issuer.example.com/ --audience api://AzureADTokenExchange " +
		"--aad-application-client-id 33333333-0000-4000-8000-000000000002 --tenant-id 33333333-0000-4000-8000-000000000001 "
	for _, code := range []int{70021, 700211, 700212, 700213, 70025} {
		got := (&entra.Error{Code: code, Presented: pod}).Advice()
		if !strings.Contains(got, command) || !strings.Contains(got, "create one for system:serviceaccount:shop:billing with issuer https://issuer.example.com/ and audience api://AzureADTokenExchange") {
			t.Errorf("AADSTS%d: %s", code, got)
		}
	}
	for _, e := range []*entra.Error{{Code: 700213}, {Code: 90002, Presented: pod}} {
		if got, want := e.Advice(), entra.Explain(e.Code).Advice; got != want {
			t.Errorf("AADSTS%d: %s, want %s", e.Code, got, want)
		}
	}
}

// TestAdviceForOtherIssuers: advice speaks of service accounts and clusters where the
// assertion is a service account's, and of what was presented where it is not.
func TestAdviceForOtherIssuers(t *testing.T) {
	t.Parallel()
	const github, terraform = "https://token.actions.githubusercontent.com", "https://app.terraform.io"
	for _, tt := range []struct{ issuer, subject, hint string }{
		{github, "repo:octo-org/octo-repo:ref:refs/heads/main", "have the names alone"},
		{github, "repo:octo-org@123456/octo-repo@456789:ref:refs/heads/main", "are immutable"},
		{github, "repo:octo-org@123456/octo-repo@456789:pull_request", "are immutable"},
		{github + "/octo-org", "repo:octo-org@123456/octo-repo@456789:environment:prod", "are immutable"},
		{github, "repo:octo-org@123456/octo-repo@456789:environment:my prod", "are immutable"},
		{github, "repository_owner_id:6:repository_id:7:pull_request", ""},
		{terraform, "organization:contoso:project:p:workspace:w:run_phase:plan", ""},
		{terraform, "repo:a@1/b@2:ref:refs/heads/main", ""},
		{"https://issuer.example.com", "system:serviceaccount:shop", ""},
		{"https://issuer.example.com", "system:serviceaccount:shop:", ""},
		{"https://issuer.example.com", "system:serviceaccount:shop:a b", ""},
		{"https://issuer.example.com", "", ""},
		{"", "", ""},
	} {
		p := entra.Presented{Issuer: tt.issuer, Subject: tt.subject, Audience: "api://AzureADTokenExchange", ClientID: "33333333-0000-4000-8000-000000000002"}
		for _, codes := range documented() {
			for _, code := range codes {
				got := (&entra.Error{Code: code, Presented: p}).Advice()
				for _, word := range []string{"service account", "serviceaccount create", "cluster", "API server", "pod's", "node's", "projected"} {
					if strings.Contains(got, word) {
						t.Errorf("AADSTS%d for %s: %q in %s", code, tt.subject, word, got)
					}
				}
				if got == "" || strings.Contains(got, "\n") {
					t.Errorf("AADSTS%d for %s: advice %q", code, tt.subject, got)
				}
			}
		}
		if tt.subject == "" {
			continue
		}
		shown := tt.subject
		if strings.Contains(shown, " ") {
			shown = strconv.Quote(shown)
		}
		for code, audience := range map[int]string{70021: " and audience api://AzureADTokenExchange", 700213: " and audience api://AzureADTokenExchange", 7002138: "", 7002131: ""} {
			got := (&entra.Error{Code: code, Presented: p}).Advice()
			if !strings.Contains(got, "issuer "+tt.issuer+", subject "+shown+audience) || !strings.Contains(got, tt.hint) {
				t.Errorf("AADSTS%d for %s: %s", code, tt.subject, got)
			}
			if tt.hint == "" && strings.Contains(got, "this repository's") {
				t.Errorf("AADSTS%d for %s speaks of repositories: %s", code, tt.subject, got)
			}
		}
	}
}

func TestCloudByName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"":                       "https://login.microsoftonline.com/",
		"AzurePublicCloud":       "https://login.microsoftonline.com/",
		"AZUREPUBLICCLOUD":       "https://login.microsoftonline.com/",
		"AzureUSGovernmentCloud": "https://login.microsoftonline.us/",
		"AZURECHINACLOUD":        "https://login.chinacloudapi.cn/",
		"AzureCloud":             "https://login.microsoftonline.com/",
		"AZURECLOUD":             "https://login.microsoftonline.com/",
		"AzureUSGovernment":      "https://login.microsoftonline.us/",
		"azureusgovernment":      "https://login.microsoftonline.us/",
	} {
		if got, err := entra.CloudByName(name); err != nil || got.AuthorityHost != want {
			t.Errorf("%q: %q, %v", name, got.AuthorityHost, err)
		}
	}
	if _, err := entra.CloudByName("AzureGermanCloud"); err == nil || !strings.Contains(err.Error(), "AzureChinaCloud") {
		t.Errorf("unknown cloud: %v", err)
	}
}

// TestCloudsAreComplete: each part of the product needs each endpoint of each cloud.
func TestCloudsAreComplete(t *testing.T) {
	t.Parallel()
	for _, c := range entra.Clouds() {
		if !strings.HasSuffix(c.AuthorityHost, "/") || !strings.HasPrefix(c.Graph, "https://") || strings.HasSuffix(c.ResourceManager, "/") ||
			len(c.ResourceManagerAudiences) == 0 || c.VaultSuffix == "" || c.BlobSuffix == "" || !strings.HasPrefix(c.EntraAudience, "api://") {
			t.Errorf("%+v", c)
		}
	}
}
