package exchange

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"azwi/contract"
	"azwi/internal/cli/command"
	"azwi/internal/cli/connect"
	"azwi/internal/finding"
	"azwi/internal/identity/propagation"
	"azwi/internal/install"
	"azwi/internal/kube"
	"azwi/internal/oidc"
	"azwi/internal/token/entra"
)

// Options say whose tokens a command works with: those of service
// accounts, or of the pod that it runs in.
type Options struct {
	Accounts           []string
	clientID, tenantID string
	Audience           string
	tokenFile          string
	cluster            connect.Cluster
	Cloud              connect.Azure

	// lifetime of the service account's tokens. Default: 10 min, the least that
	// there is.
	Lifetime time.Duration
	// newConnections is for commands that ask many times.
	NewConnections bool
}

// Register adds the flags.
func (o *Options) Register(cmd *cobra.Command, several bool) {
	f := cmd.Flags()
	text := "NAMESPACE/NAME of the service account, or NAME in the kubeconfig's namespace (default: the pod's own, from $AZURE_FEDERATED_TOKEN_FILE)"
	if several {
		text += "; may be repeated"
	}
	f.StringSliceVar(&o.Accounts, "service-account", nil, text)
	f.StringVar(&o.clientID, "client-id", "", "client ID of the identity (default: the service account's annotation, in a pod $AZURE_CLIENT_ID)")
	f.StringVar(&o.tenantID, "tenant-id", "", "tenant of the identity (default: the service account's annotation, else $AZURE_TENANT_ID)")
	f.StringVar(&o.Audience, "audience", "", "audience of the service account's token (default: the one that the installation in the cluster gives to pods, else "+contract.DefaultAudience+")")
	f.StringVar(&o.tokenFile, "token-file", "", "file of a service account token, in place of a cluster (default in a pod: $AZURE_FEDERATED_TOKEN_FILE)")
	command.InGroup(f, command.Identity, "client-id", "tenant-id", "audience", "token-file")
	o.cluster.Register(cmd)
	o.cluster.CompleteNames(cmd)
	o.Cloud.RegisterAuthority(cmd)
}

// CompleteArguments offers service accounts where a command takes them as arguments.
func (o *Options) CompleteArguments(cmd *cobra.Command) { o.cluster.CompleteArguments(cmd) }

// A Workload is what trades tokens as one pod does.
type Workload struct {
	// account is NAMESPACE/NAME; empty for that of a token file.
	Account            string
	TenantID, ClientID string
	Cloud              entra.Cloud
	Exchanger          *entra.Exchanger
	Assertions         assertions
	// audience of the service account's token; empty for a token file.
	Audience string
	// tokenFile is set if the assertion comes from a file.
	TokenFile string
}

func (w Workload) name() string { return cmp.Or(w.Account, w.TokenFile) }

// assertions gives service account tokens that are good for some minutes. Errors
// that waiting does not mend wrap propagation.ErrAsk.
type assertions func(ctx context.Context) (token string, expires time.Time, err error)

// Token exchanges once.
func (w Workload) Token(ctx context.Context, resource, claims string) (entra.Token, error) {
	assertion, _, err := w.Assertions(ctx)
	if err != nil {
		return entra.Token{}, err
	}
	return w.Exchanger.Exchange(ctx, entra.ExchangeRequest{
		TenantID: w.TenantID, ClientID: w.ClientID, Resource: resource, Claims: claims, Assertion: assertion,
	})
}

// assertionLifetime is what a TokenRequest asks for: the least that there is.
const assertionLifetime = 10 * time.Minute

// Workloads finds out what the flags, the service accounts and the environment
// say. Nothing is asked of Entra.
func (o *Options) Workloads(ctx context.Context, r *command.Env) ([]Workload, error) {
	getenv := r.Getenv
	cloud, _, err := o.Cloud.Cloud(getenv)
	if err != nil {
		return nil, err
	}
	config := EntraConfig(cloud, o.NewConnections)
	if len(o.Accounts) == 0 {
		w, err := o.fromFile(getenv, cloud, config)
		return []Workload{w}, err
	}
	if o.tokenFile != "" {
		return nil, errors.New("--service-account and --token-file exclude each other")
	}
	exchanger, err := entra.NewExchanger(config)
	if err != nil {
		return nil, err
	}
	api, err := o.cluster.Connect(r)
	if err != nil {
		return nil, clusterAdvice(err)
	}
	audience := o.Audience
	if audience == "" {
		if audience, err = install.Audience(ctx, api); err != nil {
			return nil, clusterAdvice(fmt.Errorf("find out which audience the tokens of the cluster's pods have: %w", err))
		}
	}
	list := make([]Workload, 0, len(o.Accounts))
	for _, name := range o.Accounts {
		namespace, account, found := strings.Cut(name, "/")
		if !found {
			namespace, account = api.Namespace, name
		}
		if namespace == "" || account == "" || strings.Contains(account, "/") {
			return nil, fmt.Errorf("--service-account %q: write NAMESPACE/NAME", name)
		}
		w, err := o.ofAccount(ctx, getenv, api, namespace, account)
		if err != nil {
			return nil, err
		}
		w.Cloud, w.Exchanger = cloud, exchanger
		w.Audience = audience
		w.Assertions = requested(api, namespace, account, audience, cmp.Or(o.Lifetime, assertionLifetime))
		list = append(list, w)
	}
	return list, nil
}

// fromFile is the workload of a token file, as a rule the pod's own.
func (o *Options) fromFile(getenv func(string) string, cloud entra.Cloud, config entra.ExchangerConfig) (Workload, error) {
	w := Workload{
		TokenFile: cmp.Or(o.tokenFile, getenv(contract.EnvFederatedTokenFile)), Cloud: cloud,
		ClientID: cmp.Or(o.clientID, getenv(contract.EnvClientID)), TenantID: cmp.Or(o.tenantID, getenv(contract.EnvTenantID)),
	}
	switch {
	case w.TokenFile == "":
		return Workload{}, errors.New("no service account is named: give --service-account NAMESPACE/NAME or --token-file, or run this in a pod with workload identity")
	case w.ClientID == "":
		return Workload{}, errors.New("no identity is named: give --client-id or $AZURE_CLIENT_ID")
	case w.TenantID == "":
		return Workload{}, errors.New("no tenant is named: give --tenant-id or $AZURE_TENANT_ID")
	}
	if o.tokenFile == "" {
		config.TokenProxy = entra.TokenProxy{
			URL: getenv(contract.EnvTokenProxy), SNIName: getenv(contract.EnvSNIName),
			CAFile: getenv(contract.EnvCAFile), CAData: getenv(contract.EnvCAData),
		}
	}
	var err error
	if w.Exchanger, err = entra.NewExchanger(config); err != nil {
		return Workload{}, err
	}
	w.Assertions = func(context.Context) (string, time.Time, error) {
		token, err := entra.ReadAssertion(w.TokenFile)
		if err != nil {
			return "", time.Time{}, fmt.Errorf("%w: %w", propagation.ErrAsk, err)
		}
		return token, time.Time{}, nil
	}
	return w, nil
}

// ofAccount reads the annotations of a service account, unless the flags say all.
func (o *Options) ofAccount(ctx context.Context, getenv func(string) string, api *kube.Client, namespace, name string) (Workload, error) {
	w := Workload{Account: namespace + "/" + name, ClientID: o.clientID, TenantID: o.tenantID}
	if w.ClientID == "" || w.TenantID == "" {
		var object struct {
			Metadata struct{ Annotations map[string]string }
		}
		err := api.Account(ctx, namespace, name, &object)
		// Who may request tokens need not be one who may read accounts.
		if err != nil && (!kube.IsForbidden(err) || w.ClientID == "" || getenv(contract.EnvTenantID) == "") {
			return Workload{}, accountAdvice(err, w.Account, finding.AccountForbidden(w.Account))
		}
		annotations := object.Metadata.Annotations
		w.ClientID = cmp.Or(w.ClientID, annotations[contract.ClientIDAnnotation])
		w.TenantID = cmp.Or(w.TenantID, annotations[contract.TenantIDAnnotation], getenv(contract.EnvTenantID))
	}
	switch {
	case w.ClientID == "":
		return Workload{}, finding.AccountWithoutClientID(w.Account).Err(nil)
	case w.TenantID == "":
		return Workload{}, finding.AccountWithoutTenantID(w.Account).Err(nil)
	}
	return w, nil
}

// requested asks the API server for tokens, and for a new one when half of the
// old one's life is over.
func requested(api *kube.Client, namespace, name, audience string, lifetime time.Duration) assertions {
	var mu sync.Mutex
	var token string
	var expires, renew time.Time
	return func(ctx context.Context) (string, time.Time, error) {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now().Round(0) // by the wall clock, which goes on while the machine sleeps
		if now.Before(renew) {
			return token, expires, nil
		}
		fresh, until, err := api.Token(ctx, namespace, name, kube.TokenRequest{Audience: audience, Lifetime: lifetime})
		switch {
		case err == nil:
			token, expires, renew = fresh, until, now.Add(until.Sub(now)/2)
			return token, expires, nil
		case now.Before(expires) && !kube.IsNotFound(err) && !kube.IsForbidden(err):
			return token, expires, nil // the API server may come back
		}
		err = accountAdvice(err, namespace+"/"+name, finding.TokenForbidden(namespace+"/"+name))
		return "", time.Time{}, fmt.Errorf("%w: %w", propagation.ErrAsk, err)
	}
}

// accountAdvice adds to an error of the API server on a service account what to do next.
func accountAdvice(err error, account string, forbidden finding.Finding) error {
	switch {
	case kube.IsNotFound(err):
		return finding.AccountMissing(account).Err(nil)
	case kube.IsForbidden(err):
		return command.Exit(command.ExitNotPermitted, fmt.Errorf("%w\n%w", err, forbidden.Err(nil)))
	}
	return clusterAdvice(err)
}

func clusterAdvice(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, finding.CodeNoCluster) {
		return err
	}
	advice, known := kube.Explain(err)
	if _, answered := errors.AsType[*kube.StatusError](err); !answered {
		advice, known = finding.ClusterUnreachable(true), true
	}
	if !known {
		return err
	}
	return fmt.Errorf("%w\n%w", err, advice.Err(nil))
}

// TokenAdvice adds to an error of the token endpoint what to do next.
func TokenAdvice(err error, w Workload, assertion string) error {
	answer, ok := errors.AsType[*entra.Error](err)
	if !ok {
		if _, hopeless := errors.AsType[*command.CodedError](err); hopeless || errors.Is(err, propagation.ErrAsk) || errors.Is(err, context.Canceled) {
			return err
		}
		return fmt.Errorf("%w\n%w", err, finding.EntraUnreachable().Err(nil))
	}
	text := []string{}
	if advice := answer.Advice(); advice != "" {
		text = append(text, "what to do: "+advice)
	}
	claims, decodeErr := oidc.DecodeClaims(assertion)
	if answer.Class() == finding.Replication && decodeErr == nil {
		text = append(text, fmt.Sprintf("the service account's token has issuer %v, subject %v, audience %v", claims["iss"], claims["sub"], Audiences(claims["aud"])))
	}
	text = append(text, fmt.Sprintf("identity %s, tenant %s", w.ClientID, w.TenantID))
	if answer.CorrelationID != "" {
		text[len(text)-1] += ", correlation ID " + answer.CorrelationID
	}
	return fmt.Errorf("%w\n%s", err, strings.Join(text, "\n"))
}

// Audiences writes the claim aud, which is a string or a list (RFC 7519 section
// 4.1.3).
func Audiences(claim any) string {
	list, ok := claim.([]any)
	if !ok {
		return fmt.Sprint(claim)
	}
	names := make([]string, 0, len(list))
	for _, one := range list {
		names = append(names, fmt.Sprint(one))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
