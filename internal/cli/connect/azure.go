package connect

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/azure/graph"
	"azwi/internal/cli/command"
	"azwi/internal/finding"
	"azwi/internal/httpsurl"
	"azwi/internal/identity/federation"
	"azwi/internal/token/entra"
)

// Azure says who signs in to Azure, and to which cloud. The names are
// upstream's, but for those that it lacks.
type Azure struct {
	config                 azure.Config
	method                 *pflag.Flag
	secretFile             string
	Environment            string
	Subscription           string
	Authority              string
	graph, graphAudience   string
	manager, managerTarget string
}

// Register adds the flags.
func (o *Azure) Register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.config.Method, "auth-method", azure.MethodCLI, "how to sign in: "+strings.Join(azure.Methods(), ", "))
	o.method = f.Lookup("auth-method")
	f.StringVar(&o.config.ClientID, "client-id", "", "client ID to sign in with")
	f.StringVar(&o.config.ClientSecret, "client-secret", "", "client secret; other users of this machine can read it on the command line, so prefer $AZURE_CLIENT_SECRET or --client-secret-file")
	f.StringVar(&o.secretFile, "client-secret-file", "", "file of the client secret")
	f.StringVar(&o.config.CertificateFile, "certificate-path", "", "certificate of the signed-in application, PEM or PKCS #12")
	f.StringVar(&o.config.KeyFile, "private-key-path", "", "private key in PEM, if it is not in the certificate file")
	f.StringVar(&o.config.TokenFile, "federated-token-file", "", "file of a token of the signed-in application's federated credential (default $AZURE_FEDERATED_TOKEN_FILE)")
	f.StringVar(&o.config.TenantID, "tenant-id", "", "tenant (default $AZURE_TENANT_ID, else the subscription's)")
	f.StringVarP(&o.Subscription, "subscription-id", "s", "", "subscription (default $AZURE_SUBSCRIPTION_ID, else az's)")
	command.Complete(cmd, "auth-method", azure.Methods()...)
	command.InGroup(f, command.Azure, "tenant-id", "subscription-id")
	command.InGroup(f, command.OtherSignIn, "auth-method", "client-id", "client-secret", "client-secret-file", "certificate-path", "private-key-path", "federated-token-file")
	o.registerCloud(cmd)
}

// registerCloud adds the flags that choose a cloud, for commands that do not sign
// in.
func (o *Azure) registerCloud(cmd *cobra.Command) {
	o.RegisterAuthority(cmd)
	f := cmd.Flags()
	f.StringVar(&o.graph, "graph-endpoint", "", "Microsoft Graph's URL, for a cloud that --azure-env does not know")
	f.StringVar(&o.graphAudience, "graph-audience", "", "resource of Graph's tokens (default the one of --azure-env)")
	f.StringVar(&o.manager, "resource-manager-endpoint", "", "Resource Manager's URL, for a cloud that --azure-env does not know")
	f.StringVar(&o.managerTarget, "resource-manager-audience", "", "resource of Resource Manager's tokens (default the one of --azure-env)")
	command.InGroup(f, command.OtherClouds, "graph-endpoint", "graph-audience", "resource-manager-endpoint", "resource-manager-audience")
}

// RegisterAuthority adds those of them that choose the token service alone.
func (o *Azure) RegisterAuthority(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.Environment, "azure-env", "AzurePublicCloud", "cloud: AzurePublicCloud, AzureUSGovernmentCloud or AzureChinaCloud; az's names too, in any letter case")
	f.StringVar(&o.Authority, "authority-host", "", "Entra's URL, for a cloud that --azure-env does not know (default $AZURE_AUTHORITY_HOST, else that of --azure-env)")
	command.InGroup(f, command.OtherClouds, "azure-env", "authority-host")
	var clouds []string
	for _, cloud := range entra.Clouds() {
		clouds = append(clouds, cloud.Name)
	}
	command.Complete(cmd, "azure-env", clouds...)
}

// Cloud is the one that the flags and the environment choose.
func (o *Azure) Cloud(getenv func(string) string) (cloud entra.Cloud, graphAudience string, err error) {
	cloud, err = entra.CloudByName(o.Environment)
	if err != nil {
		return entra.Cloud{}, "", fmt.Errorf("--azure-env: %w", err)
	}
	graphAudience = cloud.Graph
	authority := o.Authority
	if authority == "" && cloud.Name == entra.Clouds()[0].Name {
		authority = getenv("AZURE_AUTHORITY_HOST")
	}
	for _, endpoint := range []struct{ name, url string }{
		{"--authority-host (AZURE_AUTHORITY_HOST)", authority}, {"--graph-endpoint", o.graph}, {"--resource-manager-endpoint", o.manager},
	} {
		if err := checkEndpoint(endpoint.name, endpoint.url); err != nil {
			return entra.Cloud{}, "", err
		}
	}
	if authority != "" {
		cloud.AuthorityHost = strings.TrimSuffix(authority, "/") + "/"
	}
	if o.graph != "" {
		cloud.Graph = strings.TrimSuffix(o.graph, "/")
	}
	if o.graphAudience != "" {
		graphAudience = o.graphAudience
	}
	if o.manager != "" {
		cloud.ResourceManager = strings.TrimSuffix(o.manager, "/")
	}
	if o.managerTarget != "" {
		cloud.ResourceManagerAudiences = []string{o.managerTarget}
	}
	return cloud, graphAudience, nil
}

// checkEndpoint makes sure that tokens and secrets are sent over TLS only. Empty is
// the cloud's own.
func checkEndpoint(name, endpoint string) error {
	if endpoint == "" {
		return nil
	}
	if _, err := httpsurl.Parse(endpoint); err != nil {
		return fmt.Errorf("%s %s: %w", name, strconv.Quote(endpoint), err)
	}
	return nil
}

// A Session is a signed-in caller. Nothing has been asked yet.
type Session struct {
	Cloud entra.Cloud
	graph *graph.Client
	ARM   *arm.Client
	// tenant and subscription may be empty: not every command needs them.
	Tenant, Subscription string
	// Caller says for people who signs in.
	Caller string
}

// Announce says who is about to write, and where.
func (s *Session) Announce(r *command.Env) {
	where := ""
	if s.Tenant != "" {
		where += ", tenant " + s.Tenant
	}
	if s.Subscription != "" {
		where += ", subscription " + s.Subscription
	}
	r.Err.Printf("signed in as %s%s\n", s.Caller, where)
}

// SignIn makes the clients. It asks for no token, so it fails only on what is
// wrong with flags, environment and files.
func (o *Azure) SignIn(ctx context.Context, r *command.Env) (*Session, error) {
	c, getenv := o.config, r.Getenv
	c.Waiting = r.Waiting
	var err error
	var graphAudience string
	if c.Cloud, graphAudience, err = o.Cloud(getenv); err != nil {
		return nil, err
	}
	if c.ClientSecret == "" && o.secretFile != "" {
		if c.ClientSecret, err = readSecret(o.secretFile); err != nil {
			return nil, err
		}
	}
	if c.ClientSecret == "" {
		c.ClientSecret = getenv("AZURE_CLIENT_SECRET")
	}
	if o.method == nil || !o.method.Changed {
		c.Method = "" // by what is there
	}
	if c.Method != azure.MethodCLI && c.Method != azure.MethodDefault {
		c.ClientID = cmp.Or(c.ClientID, getenv("AZURE_CLIENT_ID"))
		c.CertificateFile = cmp.Or(c.CertificateFile, getenv("AZURE_CLIENT_CERTIFICATE_PATH"))
		c.TokenFile = cmp.Or(c.TokenFile, getenv("AZURE_FEDERATED_TOKEN_FILE"))
	}
	c.TenantID = cmp.Or(c.TenantID, getenv("AZURE_TENANT_ID"))
	subscription := cmp.Or(o.Subscription, getenv("AZURE_SUBSCRIPTION_ID"))
	signIn, err := azure.New(c)
	if err != nil {
		return nil, err
	}
	caller := signIn.Caller()
	if signIn.Method == azure.MethodCLI {
		chosen, err := azSubscription(getenv, subscription, signIn.Cloud)
		if err != nil {
			return nil, err
		}
		caller = cmp.Or(chosen.User.Name, caller)
		subscription = cmp.Or(subscription, chosen.ID)
		signIn.TenantID = cmp.Or(signIn.TenantID, chosen.TenantID)
	}
	if signIn.TenantID == "" && subscription != "" {
		if signIn.TenantID, err = signIn.TenantOf(ctx, subscription); err != nil {
			return nil, fmt.Errorf("%w; give --tenant-id", err)
		}
	}
	credential, err := signIn.Credential()
	if err != nil {
		return nil, err
	}
	options := signIn.ClientOptions()
	return &Session{
		Cloud: signIn.Cloud, Tenant: signIn.TenantID, Subscription: subscription, Caller: caller,
		graph: graph.New(graph.Config{Endpoint: signIn.Cloud.Graph, Audience: graphAudience, Credential: credential, Options: options}),
		ARM:   arm.New(arm.Config{Credential: credential, Options: options}),
	}, nil
}

// Credentials reads and writes federated credentials, and tells when Azure lets it wait.
func Credentials(r *command.Env, session *Session) *federation.Client {
	return federation.NewClient(federation.Config{
		Graph: session.graph, ARM: session.ARM,
		Waiting: func(identity federation.Identity, why error, delay time.Duration) {
			status, code := azure.StatusOf(why)
			r.Log.Info("Azure is busy; trying again", "identity", identity.String(), "after", delay.Round(time.Millisecond), "status", status, "code", code)
		},
	})
}

// azSubscription is az's subscription with an ID, or without one az's own choice. The
// error says how to sign in.
func azSubscription(getenv func(string) string, id string, cloud entra.Cloud) (azure.Subscription, error) {
	if _, err := exec.LookPath("az"); err != nil {
		return azure.Subscription{}, finding.AzMissing().Err(err)
	}
	profile, err := azure.ReadProfile(azFolder(getenv))
	switch {
	case id != "":
		return profile.Subscription(id, cloud), nil // az itself says what is wrong with its profile
	case err != nil:
		return azure.Subscription{}, fmt.Errorf("%w; or give --subscription-id", err)
	case len(profile.Subscriptions) == 0:
		return azure.Subscription{}, finding.AzSignedOut().Err(nil)
	}
	return profile.Subscription("", cloud), nil
}

// azFolder is where az keeps its configuration.
func azFolder(getenv func(string) string) string {
	if folder := getenv("AZURE_CONFIG_DIR"); folder != "" {
		return folder
	}
	return filepath.Join(cmp.Or(getenv("HOME"), getenv("USERPROFILE")), ".azure")
}

// maxSecret bounds a file with a secret, in bytes.
const maxSecret = 64 << 10

func readSecret(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("--client-secret-file: %w", err)
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxSecret))
	if err != nil {
		return "", fmt.Errorf("--client-secret-file: %w", err)
	}
	secret := string(bytes.TrimSpace(raw))
	if secret == "" {
		return "", errors.New("--client-secret-file: the file is empty")
	}
	return secret, nil
}
