package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/identity/propagation"
	"azwi/internal/install"
	"azwi/internal/kube"
	"azwi/internal/oidc"
	"azwi/internal/token/entra"
)

// workloadOptions say whose tokens a command works with: those of service
// accounts, or of the pod that it runs in.
type workloadOptions struct {
	accounts           []string
	clientID, tenantID string
	audience           string
	tokenFile          string
	cluster            clusterOptions
	cloud              azureOptions

	// lifetime of the service account's tokens. Default: 10 min, the least that
	// there is.
	lifetime time.Duration
	// newConnections is for commands that ask many times.
	newConnections bool
}

func (o *workloadOptions) register(cmd *cobra.Command, several bool) {
	f := cmd.Flags()
	text := "NAMESPACE/NAME of the service account, or NAME in the kubeconfig's namespace (default: the pod's own, from $AZURE_FEDERATED_TOKEN_FILE)"
	if several {
		text += "; may be repeated"
	}
	f.StringSliceVar(&o.accounts, "service-account", nil, text)
	f.StringVar(&o.clientID, "client-id", "", "client ID of the identity (default: the service account's annotation, in a pod $AZURE_CLIENT_ID)")
	f.StringVar(&o.tenantID, "tenant-id", "", "tenant of the identity (default: the service account's annotation, else $AZURE_TENANT_ID)")
	f.StringVar(&o.audience, "audience", "", "audience of the service account's token (default: the one that the installation in the cluster gives to pods, else "+contract.DefaultAudience+")")
	f.StringVar(&o.tokenFile, "token-file", "", "file of a service account token, in place of a cluster (default in a pod: $AZURE_FEDERATED_TOKEN_FILE)")
	o.cluster.register(cmd)
	o.cloud.registerAuthority(cmd)
}

// A workload is what trades tokens as one pod does.
type workload struct {
	// account is NAMESPACE/NAME; empty for that of a token file.
	account            string
	tenantID, clientID string
	cloud              entra.Cloud
	exchanger          *entra.Exchanger
	assertions         assertions
	// audience of the service account's token; empty for a token file.
	audience string
	// tokenFile is set if the assertion comes from a file.
	tokenFile string
}

func (w workload) name() string { return cmp.Or(w.account, w.tokenFile) }

// assertions gives service account tokens that are good for some minutes. Errors
// that waiting does not mend wrap propagation.ErrAsk.
type assertions func(ctx context.Context) (token string, expires time.Time, err error)

// token exchanges once.
func (w workload) token(ctx context.Context, resource, claims string) (entra.Token, error) {
	assertion, _, err := w.assertions(ctx)
	if err != nil {
		return entra.Token{}, err
	}
	return w.exchanger.Exchange(ctx, entra.ExchangeRequest{
		TenantID: w.tenantID, ClientID: w.clientID, Resource: resource, Claims: claims, Assertion: assertion,
	})
}

// assertionLifetime is what a TokenRequest asks for: the least that there is.
const assertionLifetime = 10 * time.Minute

// workloads finds out what the flags, the service accounts and the environment
// say. Nothing is asked of Entra.
func (o *workloadOptions) workloads(ctx context.Context, getenv func(string) string) ([]workload, error) {
	cloud, _, err := o.cloud.cloud(getenv)
	if err != nil {
		return nil, err
	}
	config := entraConfig(cloud, o.newConnections)
	if len(o.accounts) == 0 {
		w, err := o.fromFile(getenv, cloud, config)
		return []workload{w}, err
	}
	if o.tokenFile != "" {
		return nil, errors.New("--service-account and --token-file exclude each other")
	}
	exchanger, err := entra.NewExchanger(config)
	if err != nil {
		return nil, err
	}
	api, err := o.cluster.connect()
	if err != nil {
		return nil, clusterAdvice(err)
	}
	audience := o.audience
	if audience == "" {
		if audience, err = install.Audience(ctx, api); err != nil {
			return nil, clusterAdvice(fmt.Errorf("find out which audience the tokens of the cluster's pods have: %w", err))
		}
	}
	list := make([]workload, 0, len(o.accounts))
	for _, name := range o.accounts {
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
		w.cloud, w.exchanger = cloud, exchanger
		w.audience = audience
		w.assertions = requested(api, namespace, account, audience, cmp.Or(o.lifetime, assertionLifetime))
		list = append(list, w)
	}
	return list, nil
}

// fromFile is the workload of a token file, as a rule the pod's own.
func (o *workloadOptions) fromFile(getenv func(string) string, cloud entra.Cloud, config entra.ExchangerConfig) (workload, error) {
	w := workload{
		tokenFile: cmp.Or(o.tokenFile, getenv(contract.EnvFederatedTokenFile)), cloud: cloud,
		clientID: cmp.Or(o.clientID, getenv(contract.EnvClientID)), tenantID: cmp.Or(o.tenantID, getenv(contract.EnvTenantID)),
	}
	switch {
	case w.tokenFile == "":
		return workload{}, errors.New("whose token? Give --service-account NAMESPACE/NAME or --token-file, or run it in a pod with workload identity")
	case w.clientID == "":
		return workload{}, errors.New("which identity? Give --client-id or $AZURE_CLIENT_ID")
	case w.tenantID == "":
		return workload{}, errors.New("which tenant? Give --tenant-id or $AZURE_TENANT_ID")
	}
	if o.tokenFile == "" {
		config.TokenProxy = entra.TokenProxy{
			URL: getenv(contract.EnvTokenProxy), SNIName: getenv(contract.EnvSNIName),
			CAFile: getenv(contract.EnvCAFile), CAData: getenv(contract.EnvCAData),
		}
	}
	var err error
	if w.exchanger, err = entra.NewExchanger(config); err != nil {
		return workload{}, err
	}
	w.assertions = func(context.Context) (string, time.Time, error) {
		token, err := entra.ReadAssertion(w.tokenFile)
		if err != nil {
			return "", time.Time{}, fmt.Errorf("%w: %w", propagation.ErrAsk, err)
		}
		return token, time.Time{}, nil
	}
	return w, nil
}

// ofAccount reads the annotations of a service account, unless the flags say all.
func (o *workloadOptions) ofAccount(ctx context.Context, getenv func(string) string, api *kube.Client, namespace, name string) (workload, error) {
	w := workload{account: namespace + "/" + name, clientID: o.clientID, tenantID: o.tenantID}
	if w.clientID == "" || w.tenantID == "" {
		var object struct {
			Metadata struct{ Annotations map[string]string }
		}
		err := api.Account(ctx, namespace, name, &object)
		// Who may request tokens need not be one who may read accounts.
		if err != nil && (!kube.IsForbidden(err) || w.clientID == "" || getenv(contract.EnvTenantID) == "") {
			return workload{}, accountAdvice(err, w.account, "read it: give --client-id and --tenant-id, or ask for the verb get on serviceaccounts")
		}
		annotations := object.Metadata.Annotations
		w.clientID = cmp.Or(w.clientID, annotations[contract.ClientIDAnnotation])
		w.tenantID = cmp.Or(w.tenantID, annotations[contract.TenantIDAnnotation], getenv(contract.EnvTenantID))
	}
	switch {
	case w.clientID == "":
		return workload{}, fmt.Errorf("service account %s has no annotation %s: add it, or give --client-id", w.account, contract.ClientIDAnnotation)
	case w.tenantID == "":
		return workload{}, fmt.Errorf("service account %s has no annotation %s: add it, or give --tenant-id or $AZURE_TENANT_ID", w.account, contract.TenantIDAnnotation)
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
		fresh, until, err := api.Token(ctx, namespace, name, audience, lifetime)
		switch {
		case err == nil:
			token, expires, renew = fresh, until, now.Add(until.Sub(now)/2)
			return token, expires, nil
		case now.Before(expires) && !kube.IsNotFound(err) && !kube.IsForbidden(err):
			return token, expires, nil // the API server may come back
		}
		err = accountAdvice(err, namespace+"/"+name, "request its tokens: ask for the verb create on serviceaccounts/token, or use --token-file")
		return "", time.Time{}, fmt.Errorf("%w: %w", propagation.ErrAsk, err)
	}
}

// accountAdvice says what to do about an error of the API server on a service
// account.
func accountAdvice(err error, account, permission string) error {
	switch {
	case kube.IsNotFound(err):
		return fmt.Errorf("service account %s does not exist: create it, or check --service-account and --context", account)
	case kube.IsForbidden(err):
		return exit(ExitNotPermitted, fmt.Errorf("%w\nservice account %s: you may not %s", err, account, permission))
	case kube.IsStatus(err, http.StatusUnauthorized):
		return fmt.Errorf("%w\nthe cluster does not accept your sign-in: renew it, or check --kubeconfig and --context", err)
	}
	return clusterAdvice(err)
}

func clusterAdvice(err error) error {
	if _, answered := errors.AsType[*kube.StatusError](err); answered || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w\nthe cluster can't be reached: check --kubeconfig and --context; --token-file works without a cluster", err)
}

// tokenAdvice adds to an error of the token endpoint what to do next.
func tokenAdvice(err error, w workload, assertion string) error {
	answer, ok := errors.AsType[*entra.Error](err)
	if !ok {
		if _, hopeless := errors.AsType[*codedError](err); hopeless || errors.Is(err, propagation.ErrAsk) || errors.Is(err, context.Canceled) {
			return err
		}
		return fmt.Errorf("%w\nEntra can't be reached: check the network, $HTTPS_PROXY, --azure-env and --authority-host", err)
	}
	text := []string{}
	if advice := answer.Advice(); advice != "" {
		text = append(text, "what to do: "+advice)
	}
	claims, decodeErr := oidc.DecodeClaims(assertion)
	if answer.Class() == finding.Replication && decodeErr == nil {
		text = append(text, fmt.Sprintf("the service account's token has issuer %v, subject %v, audience %v", claims["iss"], claims["sub"], audiences(claims["aud"])))
	}
	text = append(text, fmt.Sprintf("identity %s, tenant %s", w.clientID, w.tenantID))
	if answer.CorrelationID != "" {
		text[len(text)-1] += ", correlation ID " + answer.CorrelationID
	}
	return fmt.Errorf("%w\n%s", err, strings.Join(text, "\n"))
}

// audiences writes the claim aud, which is a string or a list (RFC 7519 section
// 4.1.3).
func audiences(claim any) string {
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
