package exchange

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
	"azwi/internal/identity/propagation"
	"azwi/internal/kube"
	"azwi/internal/terminal"
	"azwi/internal/token/entra"
	"azwi/internal/version"
)

// Worst joins errors; what can't work counts for more than what is late.
func Worst(failures []error) error {
	code := command.ExitTimeout
	for _, err := range failures {
		switch coded, ok := errors.AsType[*command.CodedError](err); {
		case !ok:
			code = command.ExitError
		case code == command.ExitTimeout:
			code = coded.Code
		}
	}
	if len(failures) == 0 {
		return nil
	}
	return command.Exit(code, errors.Join(failures...))
}

// A Credential is a federated credential to wait for.
type Credential struct {
	Workload    Workload
	Resource    string
	written     time.Time
	NewIdentity bool
}

// Waited is how it ended. The error has an exit code and says what to do.
type Waited struct {
	Credential
	Result propagation.Result
	Err    error
}

// Wait exchanges tokens until that works steadily, and tells about it on the
// standard error.
func Wait(ctx context.Context, r *command.Env, config propagation.Config, credentials []Credential) []Waited {
	targets := make([]propagation.Target, 0, len(credentials))
	for _, c := range credentials {
		resource := c.Resource
		if resource == "" {
			resource = c.Workload.Cloud.ResourceManagerAudiences[0]
		}
		targets = append(targets, propagation.Target{
			Name: c.Workload.name(), Written: c.written, New: c.NewIdentity,
			Ask: func(ctx context.Context) error {
				_, err := c.Workload.Token(ctx, resource, "")
				return err
			},
		})
	}
	view := newWaitView(r.Err, targets)
	config.Progress = view.update
	stop := view.start()
	results := propagation.New(config).Wait(ctx, targets)
	stop()
	list := make([]Waited, 0, len(results))
	for i, result := range results {
		w := Waited{Credential: credentials[i], Result: result}
		if result.Err != nil {
			w.Err = w.explain(ctx)
		}
		list = append(list, w)
	}
	return list
}

func (w Waited) explain(ctx context.Context) error {
	assertion, _, err := w.Workload.Assertions(ctx)
	if err != nil {
		assertion = "" // it is for the explanation alone
	}
	err = TokenAdvice(fmt.Errorf("%s: %w", w.Workload.name(), w.Result.Err), w.Workload, assertion)
	if errors.Is(err, propagation.ErrTimeout) {
		return command.Exit(command.ExitTimeout, err)
	}
	return err
}

// A WaitTarget is a federated credential that was just written and shall be
// waited for.
type WaitTarget struct {
	Namespace, ServiceAccount    string
	Audience, TenantID, ClientID string
	// written is when the credential was.
	Written time.Time
	// newIdentity says that the identity was just made too, and so may be unknown
	// to Entra for a while.
	NewIdentity bool
}

// WaitOptions are the flags of commands that wait at their end: --wait,
// --timeout.
type WaitOptions struct {
	Wait    bool
	timeout time.Duration
}

// Register adds the flags.
func (o *WaitOptions) Register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.Wait, "wait", true, "wait until tokens are issued for the new credentials")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 15*time.Minute, "how long to wait; then the exit code is 4")
	command.Alias(cmd.Flags(), "wait-timeout", "timeout")
}

// Check finds mistakes before anything is written.
func (o *WaitOptions) Check() error {
	if o.timeout <= 0 {
		return fmt.Errorf("--timeout %s: want more than 0; --wait=false does not wait", o.timeout)
	}
	return nil
}

// WaitUntilUsable exchanges tokens of the targets until that works steadily.
// Where no token can be requested (the cluster may be nil) it warns and goes on;
// out of time is ExitTimeout.
func WaitUntilUsable(ctx context.Context, r *command.Env, o WaitOptions, api *kube.Client, cloud entra.Cloud, targets []WaitTarget) error {
	if !o.Wait || len(targets) == 0 {
		return nil
	}
	if api == nil {
		r.Log.Warn("not waiting until the credentials work: no cluster to request tokens from")
		return nil
	}
	exchanger, err := entra.NewExchanger(entraConfig(cloud, true))
	if err != nil {
		return err
	}
	credentials := make([]Credential, 0, len(targets))
	for _, t := range targets {
		credentials = append(credentials, Credential{
			written: t.Written, NewIdentity: t.NewIdentity,
			Workload: Workload{
				Account: t.Namespace + "/" + t.ServiceAccount, TenantID: t.TenantID, ClientID: t.ClientID, Cloud: cloud, Exchanger: exchanger,
				Assertions: requested(api, t.Namespace, t.ServiceAccount, t.Audience, assertionLifetime),
			},
		})
	}
	var failures []error
	for _, w := range Wait(ctx, r, propagation.Config{Timeout: o.timeout}, credentials) {
		if errors.Is(w.Err, propagation.ErrAsk) {
			r.Log.Warn("not waiting until the credential works: no token of its service account can be requested",
				"serviceAccount", w.Workload.Account, "error", strings.Join(strings.Fields(w.Err.Error()), " "))
			continue
		}
		if w.Err != nil {
			failures = append(failures, w.Err)
			continue
		}
		r.Err.Printf("%s: %s\n", w.Workload.Account, terminal.Good.Text("tokens are issued"))
	}
	if ctx.Err() != nil && len(failures) > 0 {
		return &interrupted{accounts: accounts(targets), cause: errors.Join(failures...)}
	}
	return Worst(failures)
}

func accounts(targets []WaitTarget) []string {
	var names []string
	for _, t := range targets {
		names = append(names, t.Namespace+"/"+t.ServiceAccount)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// An interrupted error is that of a wait for what is written.
type interrupted struct {
	accounts []string
	cause    error
}

func (e *interrupted) Error() string {
	return "interrupted: everything is written; to go on waiting, run: azwi wait --service-account " + strings.Join(e.accounts, ",")
}

// Interrupted marks an error that says how to go on.
func (e *interrupted) Interrupted() {}

// Unwrap returns why.
func (e *interrupted) Unwrap() error { return e.cause }

// entraConfig is for commands that speak to Entra themselves.
func entraConfig(cloud entra.Cloud, newConnections bool) entra.ExchangerConfig {
	return entra.ExchangerConfig{
		AuthorityHost: cloud.AuthorityHost, Proxy: http.ProxyFromEnvironment, NewConnections: newConnections, UserAgent: "azwi/" + version.String(),
	}
}
