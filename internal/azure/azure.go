package azure

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"azwi/internal/finding"
	"azwi/internal/token/entra"
)

// The values of --auth-method.
const (
	MethodCLI               = "cli"
	MethodClientSecret      = "client_secret"
	MethodClientCertificate = "client_certificate"
	MethodWorkloadIdentity  = "workload_identity"
	MethodManagedIdentity   = "managed_identity"
	MethodDefault           = "default"
)

// Methods lists the values of --auth-method.
func Methods() []string {
	return []string{MethodCLI, MethodClientSecret, MethodClientCertificate, MethodWorkloadIdentity, MethodManagedIdentity, MethodDefault}
}

// Config says who signs in, and where.
type Config struct {
	// Method is one of Methods. Default: with ClientID that for which ClientSecret,
	// CertificateFile or TokenFile is set, in this order, as Azure's tools have it;
	// else MethodCLI.
	Method string
	// TenantID to sign in to. Required by MethodClientSecret and
	// MethodClientCertificate.
	TenantID string
	// ClientID of the service principal or managed identity that signs in.
	ClientID string
	// ClientSecret is for MethodClientSecret.
	ClientSecret string
	// CertificateFile and KeyFile are PEM or, KeyFile empty, PKCS #12 files for
	// MethodClientCertificate.
	CertificateFile, KeyFile string
	// TokenFile is for MethodWorkloadIdentity. Default: AZURE_FEDERATED_TOKEN_FILE.
	TokenFile string
	// Cloud has the endpoints. Default: the public cloud.
	Cloud entra.Cloud
	// HTTP sends requests, guarded (see Service.SDK). Default: a client like the SDK's own.
	HTTP policy.Transporter
	// Waiting is told of each call to a host when it begins, and when it has ended, with
	// all its tries. Default: nobody.
	Waiting func(host string) (done func())
}

// A SignIn is a Config with its defaults. Make it with New; the tenant may still be set.
type SignIn struct{ Config }

// New fills in the defaults, and reports all mistakes together. Nothing is sent.
func New(c Config) (SignIn, error) {
	if c.Cloud.AuthorityHost == "" {
		c.Cloud = entra.Clouds()[0]
	}
	if c.Method == "" {
		c.Method = c.chosen()
	}
	// Upstream's rule: an ID and a secret mean that they are to be used.
	if c.Method == MethodCLI && c.ClientID != "" && c.ClientSecret != "" {
		c.Method = MethodClientSecret
	}
	checks := []struct {
		bad     bool
		problem string
	}{
		{!slices.Contains(Methods(), c.Method), fmt.Sprintf("--auth-method %q: use one of %s", c.Method, strings.Join(Methods(), ", "))},
		{c.Method == MethodClientSecret && c.ClientID == "", "--client-id is required with --auth-method client_secret"},
		{c.Method == MethodClientSecret && c.ClientSecret == "", "a client secret is required: set AZURE_CLIENT_SECRET, or --client-secret-file"},
		{c.Method == MethodClientCertificate && c.ClientID == "", "--client-id is required with --auth-method client_certificate"},
		{c.Method == MethodClientCertificate && c.CertificateFile == "", "--certificate-path is required with --auth-method client_certificate"},
	}
	var problems []error
	for _, check := range checks {
		if check.bad {
			problems = append(problems, errors.New(check.problem))
		}
	}
	return SignIn{c}, errors.Join(problems...)
}

// chosen is the method for which all is there.
func (c Config) chosen() string {
	switch {
	case c.ClientID == "":
	case c.ClientSecret != "":
		return MethodClientSecret
	case c.CertificateFile != "":
		return MethodClientCertificate
	case c.TokenFile != "":
		return MethodWorkloadIdentity
	}
	return MethodCLI
}

// Caller says for people who signs in.
func (c SignIn) Caller() string {
	switch c.Method {
	case MethodClientSecret, MethodClientCertificate:
		return "application " + c.ClientID
	case MethodWorkloadIdentity:
		return "workload identity " + c.ClientID
	case MethodManagedIdentity:
		return strings.TrimSpace("managed identity " + c.ClientID)
	case MethodDefault:
		return "the first of Azure's default credentials that works"
	}
	return "az's account"
}

// ClientOptions are those of every SDK client in the cloud.
func (c Config) ClientOptions() azcore.ClientOptions {
	audience := c.Cloud.ResourceManager
	if len(c.Cloud.ResourceManagerAudiences) > 0 {
		audience = c.Cloud.ResourceManagerAudiences[0]
	}
	return azcore.ClientOptions{
		Transport:       c.HTTP,
		PerCallPolicies: []policy.Policy{waits(c.Waiting)},
		Telemetry:       policy.TelemetryOptions{ApplicationID: "azwi"},
		Cloud: cloud.Configuration{
			ActiveDirectoryAuthorityHost: c.Cloud.AuthorityHost,
			Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
				cloud.ResourceManager: {Endpoint: c.Cloud.ResourceManager, Audience: audience},
			},
		},
	}
}

// Credential makes the credential. It asks for no token yet.
func (c SignIn) Credential() (azcore.TokenCredential, error) {
	if c.TenantID == "" && (c.Method == MethodClientSecret || c.Method == MethodClientCertificate) {
		return nil, finding.TenantUnknown().Err(nil)
	}
	options, private := c.ClientOptions(), c.private()
	options.Transport = c.guardSignIn()
	credential, err := c.credential(options, private)
	if err != nil || c.Method == MethodCLI {
		return credential, err
	}
	return plain{credential}, nil
}

func (c Config) credential(options azcore.ClientOptions, private bool) (azcore.TokenCredential, error) {
	switch c.Method {
	case MethodClientSecret:
		return azidentity.NewClientSecretCredential(c.TenantID, c.ClientID, c.ClientSecret, &azidentity.ClientSecretCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: private,
		})
	case MethodClientCertificate:
		raw, err := readCertificate(c.CertificateFile, c.KeyFile)
		if err != nil {
			return nil, err
		}
		certificates, key, err := azidentity.ParseCertificates(raw, nil)
		if err != nil {
			return nil, fmt.Errorf("client certificate %s: %w", c.CertificateFile, err)
		}
		return azidentity.NewClientCertificateCredential(c.TenantID, c.ClientID, certificates, key, &azidentity.ClientCertificateCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: private,
		})
	case MethodWorkloadIdentity:
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: options, ClientID: c.ClientID, TenantID: c.TenantID, TokenFilePath: c.TokenFile, DisableInstanceDiscovery: private,
		})
	case MethodManagedIdentity:
		o := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
		if c.ClientID != "" {
			o.ID = azidentity.ClientID(c.ClientID)
		}
		return azidentity.NewManagedIdentityCredential(o)
	case MethodDefault:
		return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
			ClientOptions: options, TenantID: c.TenantID, DisableInstanceDiscovery: private,
		})
	}
	credential, err := azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{TenantID: c.TenantID})
	if err != nil {
		return nil, err
	}
	return &keeper{from: credential, tenant: c.TenantID, waiting: c.Waiting}, nil
}

// private reports whether Microsoft does not know the authority, so that there is
// no use in asking about it.
func (c Config) private() bool {
	return !slices.ContainsFunc(entra.Clouds(), func(known entra.Cloud) bool {
		return strings.EqualFold(hostOf(known.AuthorityHost), hostOf(c.Cloud.AuthorityHost))
	})
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

// maxCertificate bounds certificate and key files, in bytes.
const maxCertificate = 1 << 20

func readCertificate(files ...string) ([]byte, error) {
	var all []byte
	for _, file := range files {
		if file == "" {
			continue
		}
		info, err := os.Stat(file)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		if info.Size() > maxCertificate {
			return nil, fmt.Errorf("client certificate: %s is larger than %d bytes", file, maxCertificate)
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		all = append(append(all, raw...), '\n')
		if len(files) == 1 || files[len(files)-1] == "" {
			return raw, nil // PKCS #12 has no room for a newline
		}
	}
	return all, nil
}
