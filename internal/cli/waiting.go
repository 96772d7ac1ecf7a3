package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"azwi/internal/identity/propagation"
	"azwi/internal/kube"
	"azwi/internal/token/entra"
	"azwi/internal/version"
)

// worst joins errors; what can't work counts for more than what is late.
func worst(failures []error) error {
	code := ExitTimeout
	for _, err := range failures {
		switch coded, ok := errors.AsType[*codedError](err); {
		case !ok:
			code = ExitError
		case code == ExitTimeout:
			code = coded.code
		}
	}
	if len(failures) == 0 {
		return nil
	}
	return exit(code, errors.Join(failures...))
}

// A credential is a federated credential to wait for.
type credential struct {
	workload    workload
	resource    string
	written     time.Time
	newIdentity bool
}

// waited is how it ended. The error has an exit code and says what to do.
type waited struct {
	credential
	result propagation.Result
	err    error
}

// wait exchanges tokens until that works steadily, and tells about it on the
// standard error.
func (r *root) wait(ctx context.Context, config propagation.Config, credentials []credential) []waited {
	targets := make([]propagation.Target, 0, len(credentials))
	for _, c := range credentials {
		resource := c.resource
		if resource == "" {
			resource = c.workload.cloud.ResourceManagerAudiences[0]
		}
		targets = append(targets, propagation.Target{
			Name: c.workload.name(), Written: c.written, New: c.newIdentity,
			Ask: func(ctx context.Context) error {
				_, err := c.workload.token(ctx, resource, "")
				return err
			},
		})
	}
	view := newWaitView(r.Err, targets)
	config.Progress = view.update
	stop := view.start()
	results := propagation.New(config).Wait(ctx, targets)
	stop()
	list := make([]waited, 0, len(results))
	for i, result := range results {
		w := waited{credential: credentials[i], result: result}
		if result.Err != nil {
			w.err = w.explain(ctx)
		}
		list = append(list, w)
	}
	return list
}

func (w waited) explain(ctx context.Context) error {
	assertion, _, err := w.workload.assertions(ctx)
	if err != nil {
		assertion = "" // it is for the explanation alone
	}
	err = tokenAdvice(fmt.Errorf("%s: %w", w.workload.name(), w.result.Err), w.workload, assertion)
	if errors.Is(err, propagation.ErrTimeout) {
		return exit(ExitTimeout, err)
	}
	return err
}

// A waitTarget is a federated credential that was just written and shall be
// waited for.
type waitTarget struct {
	namespace, serviceAccount    string
	audience, tenantID, clientID string
	// written is when the credential was.
	written time.Time
	// newIdentity says that the identity was just made too, and so may be unknown
	// to Entra for a while.
	newIdentity bool
}

// waitOptions are the flags of commands that wait at their end: --wait,
// --wait-timeout.
type waitOptions struct {
	wait    bool
	timeout time.Duration
}

func (o *waitOptions) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.wait, "wait", true, "wait until tokens are issued for the new credentials")
	cmd.Flags().DurationVar(&o.timeout, "wait-timeout", 15*time.Minute, "how long to wait")
}

// check finds mistakes before anything is written.
func (o *waitOptions) check() error {
	if o.timeout <= 0 {
		return fmt.Errorf("--wait-timeout %s: want more than 0; --wait=false does not wait", o.timeout)
	}
	return nil
}

// waitUntilUsable exchanges tokens of the targets until that works steadily.
// Where no token can be requested (the cluster may be nil) it warns and goes on;
// out of time is ExitTimeout.
func (r *root) waitUntilUsable(ctx context.Context, o waitOptions, api *kube.Client, cloud entra.Cloud, targets []waitTarget) error {
	if !o.wait || len(targets) == 0 {
		return nil
	}
	if api == nil {
		r.log.Warn("not waiting until the credentials work: no cluster to request tokens from")
		return nil
	}
	exchanger, err := entra.NewExchanger(entraConfig(cloud, true))
	if err != nil {
		return err
	}
	credentials := make([]credential, 0, len(targets))
	for _, t := range targets {
		credentials = append(credentials, credential{
			written: t.written, newIdentity: t.newIdentity,
			workload: workload{
				account: t.namespace + "/" + t.serviceAccount, tenantID: t.tenantID, clientID: t.clientID, cloud: cloud, exchanger: exchanger,
				assertions: requested(api, t.namespace, t.serviceAccount, t.audience, assertionLifetime),
			},
		})
	}
	var failures []error
	for _, w := range r.wait(ctx, propagation.Config{Timeout: o.timeout}, credentials) {
		if errors.Is(w.err, propagation.ErrAsk) {
			r.log.Warn("not waiting until the credential works: no token of its service account can be requested",
				"serviceAccount", w.workload.account, "error", strings.Join(strings.Fields(w.err.Error()), " "))
			continue
		}
		if w.err != nil {
			failures = append(failures, w.err)
		}
	}
	return worst(failures)
}

// entraConfig is for commands that speak to Entra themselves.
func entraConfig(cloud entra.Cloud, newConnections bool) entra.ExchangerConfig {
	return entra.ExchangerConfig{
		AuthorityHost: cloud.AuthorityHost, Proxy: http.ProxyFromEnvironment, NewConnections: newConnections, UserAgent: "azwi/" + version.String(),
	}
}
