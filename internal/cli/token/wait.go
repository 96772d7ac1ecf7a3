package token

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
	"azwi/internal/cli/exchange"
	"azwi/internal/identity/propagation"
	"azwi/internal/terminal"
	"azwi/internal/token/entra"
)

// NewWait makes azwi wait.
func NewWait(r *command.Env) *cobra.Command {
	o := waitCommand{workload: exchange.Options{NewConnections: true}}
	cmd := &cobra.Command{
		Use:   "wait [[NAMESPACE/]NAME...]",
		Short: "Wait until a federated credential works",
		Long: `Wait until tokens are issued, steadily, for a new federated credential.

Exit code: 0 it works, 1 it can't work, 3 not permitted, 4 not in time.`,
		Annotations: map[string]string{command.Docs: "docs/token.md"},
		Example: `  azwi wait shop/orders shop/worker
  azwi wait shop/orders --timeout 5m
  azwi wait                                # in a pod: its own identity`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.workload.Accounts = append(o.workload.Accounts, args...)
			return o.run(cmd.Context(), r)
		},
	}
	o.workload.Register(cmd, true)
	o.workload.CompleteArguments(cmd)
	f := cmd.Flags()
	f.StringVar(&o.resource, "resource", "", "what to ask tokens for (default Azure Resource Manager)")
	f.DurationVar(&o.timeout, "timeout", 15*time.Minute, "how long to wait")
	f.DurationVar(&o.firstTry, "first-try", 0, "when to ask for the first token; earlier than the credential needs costs minutes (default 2s)")
	f.BoolVar(&o.newIdentity, "new-identity", false, "the identity is new too: tolerate for two minutes that Entra does not know it")
	command.OutputFlag(cmd, &o.output)
	return cmd
}

type waitCommand struct {
	workload          exchange.Options
	resource, output  string
	timeout, firstTry time.Duration
	newIdentity       bool
}

func (o *waitCommand) run(ctx context.Context, r *command.Env) error {
	workloads, err := o.workload.Workloads(ctx, r)
	if err != nil {
		return err
	}
	credentials := make([]exchange.Credential, 0, len(workloads))
	for _, w := range workloads {
		if _, _, err := w.Assertions(ctx); err != nil { // better now than after the first try's time
			return err
		}
		credentials = append(credentials, exchange.Credential{Workload: w, Resource: o.resource, NewIdentity: o.newIdentity})
	}
	waited := exchange.Wait(ctx, r, propagation.Config{Timeout: o.timeout, FirstTry: o.firstTry}, credentials)
	report := waitReport{Ready: true}
	var failures []error
	for _, w := range waited {
		report.add(w)
		if w.Err != nil {
			failures = append(failures, w.Err)
		}
	}
	err = r.Print(o.output, report, func() {
		for _, c := range report.Credentials {
			if c.Ready {
				r.Out.Printf("%s: %s after %s, %d tokens in a row\n", c.name(), terminal.Good.Text("ready"), seconds(c.Seconds), c.Requests-c.lost)
			}
		}
	})
	if ctx.Err() != nil {
		return errors.Join(append(failures, err)...)
	}
	return errors.Join(err, exchange.Worst(failures))
}

// A waitReport is what wait prints; docs/schema/wait.json has its schema.
type waitReport struct {
	Ready       bool             `json:"ready"`
	Credentials []waitCredential `json:"credentials"`
}

type waitCredential struct {
	ServiceAccount string  `json:"serviceAccount,omitempty"`
	TokenFile      string  `json:"tokenFile,omitempty"`
	ClientID       string  `json:"clientId"`
	TenantID       string  `json:"tenantId"`
	Ready          bool    `json:"ready"`
	Seconds        float64 `json:"seconds"`
	Requests       int     `json:"requests"`
	Misses         int     `json:"misses"`
	// Code is the number after AADSTS of the last refusal.
	Code  int    `json:"code,omitempty"`
	Error string `json:"error,omitempty"`

	lost int
}

func (c waitCredential) name() string { return c.ServiceAccount + c.TokenFile }

func (r *waitReport) add(w exchange.Waited) {
	c := waitCredential{
		ServiceAccount: w.Workload.Account, TokenFile: w.Workload.TokenFile, ClientID: w.Workload.ClientID, TenantID: w.Workload.TenantID,
		Ready: w.Err == nil, Seconds: w.Result.Waited.Round(time.Millisecond).Seconds(), Requests: w.Result.Asked, Misses: w.Result.Missed,
		lost: w.Result.Asked - w.Result.Streak,
	}
	if w.Err != nil {
		r.Ready = false
		c.Error = w.Err.Error()
	}
	if answer, ok := errors.AsType[*entra.Error](w.Err); ok {
		c.Code = answer.Code
	}
	r.Credentials = append(r.Credentials, c)
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Millisecond).String()
}
