package finding_test

import (
	"strconv"
	"strings"
	"testing"

	"azwi/internal/finding"
)

// Each code is in the table once, with one line of advice for the token of any issuer.
func TestAADSTSCodes(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for _, known := range finding.AADSTSCodes() {
		if known.Advice == "" || strings.Contains(known.Advice, "\n") || strings.HasSuffix(known.Advice, ".") || strings.Contains(known.Advice, "NAMESPACE") {
			t.Errorf("AADSTS%d: advice %q", known.Codes, known.Advice)
		}
		for _, code := range known.Codes {
			if seen[code] || code <= 0 {
				t.Errorf("AADSTS%d is there twice", code)
			}
			seen[code] = true
			if got := finding.Explain(code); got.Advice != known.Advice || got.Class != known.Class {
				t.Errorf("AADSTS%d: %+v", code, got)
			}
		}
	}
	if got := finding.Explain(1); got.Advice != "" || got.Class != finding.Permanent {
		t.Errorf("unknown code: %+v", got)
	}
}

// A credential that was just made may be missing for a while only; everything else
// that no one but a person can mend must not be tried again.
func TestClasses(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]finding.Class{
		70021: finding.Replication, 700211: finding.Replication, 700212: finding.Replication, 700213: finding.Replication, 70025: finding.Replication,
		7002138: finding.Permanent, 700016: finding.Permanent, 700024: finding.Permanent, 7000215: finding.Permanent,
		50166: finding.Transient, 90033: finding.Transient, 50196: finding.Transient,
	} {
		if got := finding.Explain(code).Class; got != want {
			t.Errorf("AADSTS%d is %v, want %v", code, got, want)
		}
	}
}

// TestAdviceNamesWhatWasPresented: advice about a missing credential is a command
// that can be run.
func TestAdviceNamesWhatWasPresented(t *testing.T) {
	t.Parallel()
	pod := finding.Presented{
		Issuer: "https://issuer.example.com/", Subject: "system:serviceaccount:shop:billing", Audience: "api://AzureADTokenExchange",
		ClientID: "33333333-0000-4000-8000-000000000002", TenantID: "33333333-0000-4000-8000-000000000001",
	}
	const command = "azwi serviceaccount create --service-account-namespace shop --service-account-name billing " +
		"--service-account-issuer-url https://issuer.example.com/ --audience api://AzureADTokenExchange " +
		"--aad-application-client-id 33333333-0000-4000-8000-000000000002 --tenant-id 33333333-0000-4000-8000-000000000001 "
	for _, code := range []int{70021, 700211, 700212, 700213, 70025} {
		got := pod.Advice(code)
		if !strings.Contains(got, command) || !strings.Contains(got, "create one for system:serviceaccount:shop:billing with issuer https://issuer.example.com/ and audience api://AzureADTokenExchange") {
			t.Errorf("AADSTS%d: %s", code, got)
		}
	}
	if got, want := (finding.Presented{}).Advice(700213), finding.Explain(700213).Advice; got != want {
		t.Errorf("nothing was presented: %s, want %s", got, want)
	}
	if got, want := pod.Advice(90002), finding.Explain(90002).Advice; got != want {
		t.Errorf("nothing is missing: %s, want %s", got, want)
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
		p := finding.Presented{Issuer: tt.issuer, Subject: tt.subject, Audience: "api://AzureADTokenExchange", ClientID: "33333333-0000-4000-8000-000000000002"}
		for _, known := range finding.AADSTSCodes() {
			for _, code := range known.Codes {
				got := p.Advice(code)
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
			got := p.Advice(code)
			if !strings.Contains(got, "issuer "+tt.issuer+", subject "+shown+audience) || !strings.Contains(got, tt.hint) {
				t.Errorf("AADSTS%d for %s: %s", code, tt.subject, got)
			}
			if tt.hint == "" && strings.Contains(got, "this repository's") {
				t.Errorf("AADSTS%d for %s speaks of repositories: %s", code, tt.subject, got)
			}
		}
	}
}

// What is known of the code counts for more than the status.
func TestClassOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status, code int
		want         finding.Class
	}{
		{0, 0, finding.Permanent}, {400, 0, finding.Permanent}, {403, 0, finding.Permanent}, {404, 0, finding.Permanent}, {409, 0, finding.Permanent},
		{408, 0, finding.Transient}, {429, 0, finding.Transient}, {500, 0, finding.Transient}, {504, 99, finding.Transient},
		{400, 50196, finding.Transient}, {401, 700213, finding.Replication}, {429, 700213, finding.Replication}, {401, 7000215, finding.Permanent},
	} {
		if got := finding.ClassOf(tt.status, tt.code); got != tt.want {
			t.Errorf("%d, AADSTS%d: %s, want %s", tt.status, tt.code, got, tt.want)
		}
	}
}
