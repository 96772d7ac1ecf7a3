package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"azwi/internal/identity/propagation"
	"azwi/internal/token/entra"
)

func newWaitCommand(r *root) *cobra.Command {
	o := waitCommand{workload: workloadOptions{newConnections: true}}
	cmd := &cobra.Command{
		Use:   "wait --service-account NAMESPACE/NAME",
		Short: "Wait until a federated credential works",
		Long: `Wait until tokens are issued, steadily, for a federated credential that was just
made.

A new credential needs some time to spread through Entra's directory. A request that
comes too early is refused, and the refusal is remembered for minutes; so wait does
not ask at once, and after a refusal it pauses for longer. It reports success when
many requests in a row were answered with a token.

Errors that waiting cannot fix (unknown client ID, wrong tenant, ...) end the command
immediately.

Exit code: 0 it works, 1 it can't work, 3 no token of the service account may be
requested, 4 it does not work in time.`,
		Example: `  azwi wait --service-account shop/orders
  azwi wait --service-account shop/orders --client-id $ID --tenant-id $TENANT --timeout 5m
  azwi wait                                # in a pod: its own identity`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), r) },
	}
	o.workload.register(cmd, true)
	f := cmd.Flags()
	f.StringVar(&o.resource, "resource", "", "what to ask tokens for (default Azure Resource Manager)")
	f.DurationVar(&o.timeout, "timeout", 15*time.Minute, "how long to wait")
	f.DurationVar(&o.firstTry, "first-try", 0, "when to ask for the first token; earlier than the credential needs costs minutes (default 2s)")
	f.BoolVar(&o.newIdentity, "new-identity", false, "the identity is new too: tolerate for two minutes that Entra does not know it")
	outputFlag(cmd, &o.output)
	return cmd
}

type waitCommand struct {
	workload          workloadOptions
	resource, output  string
	timeout, firstTry time.Duration
	newIdentity       bool
}

func (o *waitCommand) run(ctx context.Context, r *root) error {
	workloads, err := o.workload.workloads(ctx, r.getenv)
	if err != nil {
		return err
	}
	credentials := make([]credential, 0, len(workloads))
	for _, w := range workloads {
		if _, _, err := w.assertions(ctx); err != nil { // better now than after the first try's time
			return err
		}
		credentials = append(credentials, credential{workload: w, resource: o.resource, newIdentity: o.newIdentity})
	}
	waited := r.wait(ctx, propagation.Config{Timeout: o.timeout, FirstTry: o.firstTry}, credentials)
	report := waitReport{Ready: true}
	var failures []error
	for _, w := range waited {
		report.add(w)
		if w.err != nil {
			failures = append(failures, w.err)
		}
	}
	err = r.print(o.output, report, func() {
		for _, c := range report.Credentials {
			if c.Ready {
				r.Out.Printf("%s: ready after %s, %d tokens in a row\n", c.name(), seconds(c.Seconds), c.Requests-c.lost)
			}
		}
	})
	return errors.Join(err, worst(failures))
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

func (r *waitReport) add(w waited) {
	c := waitCredential{
		ServiceAccount: w.workload.account, TokenFile: w.workload.tokenFile, ClientID: w.workload.clientID, TenantID: w.workload.tenantID,
		Ready: w.err == nil, Seconds: w.result.Waited.Round(time.Millisecond).Seconds(), Requests: w.result.Asked, Misses: w.result.Missed,
		lost: w.result.Asked - w.result.Streak,
	}
	if w.err != nil {
		r.Ready = false
		c.Error = w.err.Error()
	}
	if answer, ok := errors.AsType[*entra.Error](w.err); ok {
		c.Code = answer.Code
	}
	r.Credentials = append(r.Credentials, c)
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Millisecond).String()
}
