package finding_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/contract"
	"azwi/internal/finding"
)

var update = flag.Bool("update", false, "write docs/reference/findings.md")

// A thing is an object by its name.
type thing string

func (t thing) String() string { return string(t) }

// examples are one finding at least of each code, from typical arguments.
func examples() []finding.Finding {
	const (
		account  = "shop/orders"
		id       = "33333333-0000-4000-8000-000000000002"
		other    = "33333333-0000-4000-8000-000000000009"
		issuer   = "https://issuer.example.com/"
		webhook  = "azure-wi-webhook-mutating-webhook-configuration"
		deploy   = "azure-wi-webhook-controller-manager"
		system   = "azure-workload-identity-system"
		secret   = system + "/azure-wi-webhook-server-cert"
		managed  = thing("managed identity orders")
		registry = "the registry does not answer"
	)
	refused, expired := errors.New("deployments.apps is forbidden"), time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	return []finding.Finding{
		finding.Syntax("line 3: found a tab character where an indentation space is expected"),
		finding.Syntax("incomplete UTF-8 octet sequence"), finding.Syntax("control characters are not allowed"), finding.Template(),
		finding.NotManifest(), finding.HelmTemplates("./chart"), finding.Placeholders(2), finding.PlaceholderLeft("${CLIENT_ID}"),
		finding.DuplicateKey("labels"), finding.NotString(contract.UseLabel, "true"), finding.Unreadable(errors.New("pod: spec.containers is not a list")),
		finding.NoPodTemplate(), finding.LabelNotOnPod("Deployment", "its pod template"), finding.LabelValue("yes"), finding.LabelMissing(account, ""),
		finding.NearMissKey("label", "azure.workload-identity/use", "label", contract.UseLabel),
		finding.MisplacedKey("annotation of the pod", contract.ClientIDAnnotation, "annotation of the service account"), finding.RefusedByHand(),
		finding.OtherDocument(), finding.KindUnknown("Widget", "labels"), finding.TemplateUnknown(), finding.KustomizationLabels(),
		finding.ClientIDMissing(account), finding.ClientIDNotGUID(account, "orders"), finding.EnvClientIDNotGUID(), finding.TenantID("my tenant"),
		finding.TokenExpiration(account, "60"), finding.AccountMisplaced("spec.serviceAccountName", "orders"), finding.AccountMisspelt("serviceaccountname", "orders"),
		finding.AccountUnknown(account), finding.OwnClientID("app", "orders"), finding.OtherAccount("orders", "billing"), finding.VirtualNode(),
		finding.SkipUnknown("sidecar"), finding.ProxyNotBoolean("maybe"), finding.ProxyPort("0"), finding.ProxyMode("iptables"),
		finding.ProxyIdentity("orders"), finding.ProxyIdentityTwice(id), finding.ProxyAllowedClientID("orders"),
		finding.ProxyQuantity(contract.ProxyCPURequestAnnotation, "much"),
		finding.ProxyRequestAboveLimit(contract.ProxyCPURequestAnnotation, "1", contract.ProxyCPULimitAnnotation, "100m"),
		finding.ProxyWindows(), finding.HostNetwork(), finding.ProxyUID("app"), finding.PortTaken("app", 8000), finding.NeverCompletes("Never"),
		finding.OwnEndpoint("app"), finding.NeedlessEndpoint("app", contract.EnvIdentityEndpoint), finding.HTTPProxy("app"),
		finding.SubPath("subPath", "azure-identity-token"), finding.TokenVolume(), finding.TokenPath(), finding.ClientSecret("app", "AZURE_CLIENT_SECRET"),
		finding.OwnTokenFile("app", contract.EnvFederatedTokenFile), finding.PodIdentityKind("AzureIdentity"), finding.PodIdentityLabel("aadpodidbinding"),
		finding.IssuerNotHTTPS("http://issuer.example.com"), finding.IssuerWithoutSlash("https://eastus.oic.prod-aks.azure.com/t/c"),
		finding.IssuerTwice(issuer, "https://issuer.example.com", "b.yaml:4:3"), finding.NotAccountSubject("orders"),

		finding.ProxyImage(), finding.UpstreamImages(), finding.PodTooLarge("containers", 201, 200), finding.PatchTooLarge(1 << 20),
		finding.WebhookBusy(), finding.LargePods(), finding.AccountNotRead(), finding.CertificateContested(),
		finding.NoRoute(), finding.NetAdminMissing(), finding.NoNFTables(), finding.ProxyLoop(),
		finding.NotClientID("orders"), finding.NoDefaultIdentity(), finding.IDNotMapped("/subscriptions/S/.../orders"), finding.ClientIDNotAllowed(id),
		finding.PrivateKey("sa.key"), finding.ECKey("sa.pub"),

		finding.ActionNotGranted(), finding.ApplicationNotWritable(), finding.ApplicationNotCreatable(), finding.PermissionsUnreadable("403 AuthorizationFailed"),
		finding.DirectoryUnreadable("403 Authorization_RequestDenied"), finding.DirectoryRoleUnknown(),
		finding.AzMissing(), finding.AzSignedOut(), finding.AzNoToken("AADSTS700082: the refresh token has expired", ""), finding.EntraUnreachable(),
		finding.AzureUnreachable("graph.microsoft.com", "connection refused"),
		finding.ApplicationNameTooLong(130, 120), finding.IdentityNotMade(thing(`application "orders"`), "aad-application"),
		finding.PrincipalNotMade(thing(`application "orders"`), "aad-application"), finding.RoleMissing("Key Vault Secret User", "/subscriptions/S", "Key Vault Secrets User"),
		finding.TenantUnknown(), finding.SubscriptionUnknown(id),
		finding.AccountWithoutClientID(account), finding.AccountWithoutTenantID(account),

		finding.ApplicationMissing(id), finding.ApplicationGone(), finding.ApplicationUnnamed("orders"), finding.ApplicationToCreate(thing("application with client ID " + id)),
		finding.ApplicationAmbiguous(2, "orders", "clientID"),
		finding.NameAmbiguous("application", "orders", "--aad-application-client-id", []string{id, other}), finding.ManagedIdentityMissing(), finding.ManagedIdentityToCreate(managed),
		finding.CredentialLimit(managed, 19, 2, 0, 20), finding.CredentialsNotGranted(true), finding.CredentialsNotGranted(false), finding.RegionWithoutCredentials(),
		finding.CredentialsContested(), finding.AzureThrottles(), finding.CredentialOfFile("shop"), finding.CredentialOfOthers(),
		finding.CredentialOfOtherCluster(), finding.CredentialNotInFile(), finding.CredentialWithExpression(), finding.NewIssuerMissing(contract.Subject("shop", "orders")),
		finding.IssuerNotFound(issuer, "https://new.example.com/", ""), finding.IssuerSpelledOtherwise("https://issuer.example.com", issuer, 2), finding.OtherCluster("blue", issuer),

		finding.PodIdentityMissing(), finding.WorkloadsNotListable("deployments.apps", refused), finding.ControllerUnknown("aadpodidbinding=orders"),
		finding.NothingBound("aadpodidbinding=orders"), finding.SeveralIdentities("Deployment shop/orders", "shop/billing", other),
		finding.AccountNamesTaken(), finding.AccountShared("orders", id, other), finding.AccountOfOther("orders", id, "shop/billing", other),

		finding.Interrupted("webhook", "policy engine"), finding.RemovalInterrupted("policy engine", "webhook"), finding.UninstallInterrupted(), finding.InstallInterrupted(),
		finding.NotRegistered(webhook), finding.NoWebhook(webhook), finding.FailurePolicyIgnore(), finding.DeploymentMissing(deploy),
		finding.ReplicasNotReady(1, 2, system), finding.CertificateMissing(secret), finding.SecretMissing(secret),
		finding.CertificateUnreadable(secret, errors.New("it has no PEM block")), finding.CertificateExpired(expired), finding.CertificateExpires(expired),
		finding.BundleEmpty(webhook), finding.BundleWrong(webhook, errors.New("x509: certificate signed by unknown authority")),
		finding.PodRefused("shop", errors.New("no endpoints available for service")), finding.PodNotInjected("shop"), finding.WrongTenant(id, other), finding.PodNotLabelled(),
		finding.Drift(2), finding.PodsWithoutIdentity(3), finding.PodsWithStaleIdentity(2), finding.PodsWithoutLabel(4), finding.NotReadable("deployments", refused),
		finding.DriftNotRecorded(), finding.DriftUnfinished("upgrade"), finding.DriftOtherVersion("2.0.0", "2.1.0"),
		finding.Installed("2.0.0", "webhook", system), finding.InstalledElsewhere(system, "kube-system"), finding.InstalledByAKS(),
		finding.InstalledByHelm("wi", system, "install"), finding.InstalledByOthers("an installation in namespace "+system+" that was applied from manifests", "install"),
		finding.NotInstalled(), finding.NothingToUpgrade(), finding.NothingInstalled(), finding.HelmUninstalls("wi", system), finding.AKSUninstalls(), finding.OthersUninstall(),
		finding.KubernetesTooOld(30, "v1.29.1"), finding.NoPolicies(36, "v1.35.0"), finding.NotKubernetes("2.0"),
		finding.SwitchNeedsWait("webhook", "policy"), finding.UnfinishedSwitchNeedsWait(), finding.APIMissing(thing("ServiceMonitor "+system+"/webhook"), "monitoring.coreos.com/v1"),
		finding.WouldRefuse(thing("Deployment "+deploy), refused), finding.WouldNotRemove(thing("Deployment "+deploy), refused), finding.WouldNotRecord(refused),
		finding.PodsNotCreatable("shop"), finding.NotVerifiable(refused), finding.OtherRun(), finding.OtherRunElsewhere(), finding.LaterRun(),
		finding.TwoRecords(system, "kube-system", "azwi-installation"), finding.RecordUnreadable(system+"/azwi-installation", errors.New("unexpected end of JSON input")),
		finding.SelectorWithoutLabel(system + "/" + deploy), finding.SelectorFixed(thing("Deployment "+deploy), thing("app=wi")),
		finding.TrialLeft("webhook", "azwi.trial", refused), finding.RightsKept(thing("ClusterRole azure-wi-webhook-manager-role")), finding.NotPutBack(errors.New(registry), refused),
		finding.ReplicasTimeout(), finding.InjectionTimeout("shop"), finding.TrialTimeout("shop"), finding.NotWorkingInTime(5*time.Minute, errors.New("the webhook's pods are not ready")),

		finding.ClusterSignIn(), finding.ClusterForbidden("get", "serviceaccounts", "shop"), finding.AccountForbidden(account), finding.TokenForbidden(account),
		finding.AccountsNotGranted(), finding.ObjectNotGranted("get, watch and patch", "Secret "+secret), finding.WatchNotGranted(),
		finding.ClusterUnreachable(true), finding.RedirectNotFollowed(), finding.NoCluster(), finding.KubeconfigMissing("missing"),
		finding.NotKubeconfig(errors.New("yaml: line 2: did not find expected node content")), finding.ContextMissing("prd", `; did you mean "prod"?`), finding.ContextMissing("prd", ""), finding.ClusterUntrusted(),
		finding.AccountMissing(account), finding.PodAccountMissing(), finding.NotInjected(account, false),
		finding.NamespaceMissing("shopp", `: did you mean "shop"?`), finding.NamespaceToCreate("shop"),
	}
}

// doctorExamples are those of what doctor and audit see.
func doctorExamples() []finding.Finding {
	const (
		id      = "33333333-0000-4000-8000-000000000002"
		object  = "33333333-0000-4000-8000-000000000003"
		tenant  = "11111111-1111-1111-1111-111111111111"
		issuer  = "https://issuer.example.com/"
		webhook = "MutatingWebhookConfiguration azure-wi-webhook-mutating-webhook-configuration"
		name    = "shop-orders"
	)
	orders := finding.Workload{Kind: "Deployment", Namespace: "shop", Name: "orders"}
	refused := errors.New("https://issuer.example.com/.well-known/openid-configuration answers 403")
	wanted := finding.Wanted{
		Namespace: "shop", Account: "orders", Issuer: issuer, Subject: contract.Subject("shop", "orders"), Audience: contract.DefaultAudience,
		ResourceID: "/subscriptions/22222222-0000-4000-8000-000000000001/resourceGroups/shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/orders",
	}
	return []finding.Finding{
		finding.ObjectMissing("Deployment shop/order", `; did you mean "orders"?`), finding.OptInMissing(orders, "orders", true), finding.OptInTooLate(orders, "orders-1"),
		finding.StaleIdentity(orders, "orders-1", contract.EnvClientID, id, object), finding.NamespaceExcluded("shop", webhook, "team notin (shop)"),
		finding.PodExcluded(webhook), finding.WebhookSilent(webhook), finding.PolicyNotBound("azure-wi-policy"),
		finding.TwoInstallations([]string{webhook, "MutatingWebhookConfiguration other"}), finding.ContainerSkipped("app"), finding.OtherClientID("app", object, id),
		finding.OwnAuthority("app", "https://login.microsoftonline.us/", "https://login.microsoftonline.com/"), finding.NoClientID("shop", "orders", []string{"shop/order"}),
		finding.PodIdentityInUse(2), finding.IssuerUnreachable(errors.New("connection refused")), finding.IssuerRedirected(errors.New("https://issuer.example.com/ answers 302")),
		finding.IssuerNotServed(refused), finding.DocumentNotHTTPS("http://10.0.0.1/keys"), finding.IssuerNamesOther("https://issuer.example.com", issuer),
		finding.IssuerKeyMissing("new", []string{"old"}), finding.DirectoryForbidden(), finding.IdentityMissing(id, tenant),
		finding.ClientIDIsObjectID("shop", "orders", object, id), finding.OtherTenant("shop", "orders", object, tenant), finding.PrincipalMissing(id),
		finding.CredentialMissing(wanted, 3), finding.CredentialSubject(wanted, name, "system:serviceaccount:orders:shop"),
		finding.CredentialIssuer(wanted, name, "https://issuer.example.com"), finding.CredentialAudience(wanted, name, "api://AzureADTokenExchangeUSGov"),
		finding.CredentialsFull(wanted, 20), finding.CredentialSpreads("shop/orders"), finding.ExchangeRefused(finding.AADSTSUnknownTenant, "", finding.Presented{}),
		finding.RoleNotAssigned(object, ""), finding.RoleNotAssigned(object, "/subscriptions/S/resourceGroups/shop"), finding.ProxyNotReady("shop", "orders-1", "CrashLoopBackOff"),
		finding.SeenInPod("orders-1", finding.AADSTSLifetime, finding.Presented{}),
		finding.IdentityShared(id, []string{"shop", "billing"}), finding.CredentialUnused(name, "system:serviceaccount:shop:gone"), finding.SubjectWide(name),
		finding.TokenLongLived(86400), finding.CanActAs("group developers", []string{"create pods", "exec into pods"}), finding.IMDSReachable(3),
	}
}

// TestExamples: docs/reference/findings.md has the text of each code, as it is.
func TestExamples(t *testing.T) {
	t.Parallel()
	of := map[finding.Code][]string{}
	for _, f := range slices.Concat(examples(), doctorExamples()) {
		text := f.Text()
		if command := f.Command(); command != "" {
			text += " (`" + command + "`)"
		}
		of[f.Code()] = append(of[f.Code()], text)
	}
	var b strings.Builder
	b.WriteString(`# Findings

<!-- Written from the code by make generate; edits are lost. -->

The codes of azwi, with what it says of each in a typical case; some have several sentences. Codes are stable, texts may change.
The page in the heading explains them, and ` + "`azwi explain CODE`" + ` names it. [azwi explain](../explain.md) knows the codes of Entra, Microsoft
Graph and Resource Manager, too.
`)
	page := ""
	for _, e := range finding.Catalogue() {
		if e.Page != page {
			page = e.Page
			fmt.Fprintf(&b, "\n## [%s](../%[1]s)\n\n", page)
		}
		fmt.Fprintf(&b, "- `%s` (%s): %s\n", e.Code, e.Severity, e.Title)
		for _, text := range of[e.Code] {
			fmt.Fprintf(&b, "  - %s\n", strings.NewReplacer("<", "&lt;", "*", `\*`, "_", `\_`).Replace(text))
		}
		if len(of[e.Code]) == 0 {
			t.Errorf("%s has no example", e.Code)
		}
	}
	file := filepath.Join(root, "docs/reference/findings.md")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(written), b.String()); diff != "" {
		t.Errorf("run make generate (-page +code):\n%s", diff)
	}
}
