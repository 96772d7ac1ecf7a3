package token

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
	"azwi/internal/cli/exchange"
	"azwi/internal/oidc"
)

// New makes the command.
func New(r *command.Env) *cobra.Command {
	var o tokenCommand
	cmd := &cobra.Command{
		Use:         "token [NAMESPACE/]NAME --resource URI",
		Short:       "Print an access token as a pod would get it",
		Long:        `Print an access token as a pod would get it. It is a secret.`,
		Annotations: map[string]string{command.Docs: "docs/token.md"},
		Example: `  azwi token shop/orders --resource https://vault.azure.net
  azwi token shop/orders --assertion --decode`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.workload.Accounts = append(o.workload.Accounts, args...)
			return o.run(cmd.Context(), r)
		},
	}
	o.workload.Register(cmd, false)
	o.workload.CompleteArguments(cmd)
	f := cmd.Flags()
	f.StringVar(&o.resource, "resource", "", "what the token is for, such as https://vault.azure.net; with or without /.default")
	f.StringVar(&o.claims, "claims", "", "claims request in JSON, from the challenge of a resource")
	f.BoolVar(&o.decode, "decode", false, "print the token's claims instead; its signature is not verified")
	f.BoolVar(&o.assertion, "assertion", false, "print the service account's token instead of exchanging it")
	command.OutputFlagOf(cmd, &o.output, "text", "json", "yaml", "exec-credential")
	return cmd
}

type tokenCommand struct {
	workload          exchange.Options
	resource, claims  string
	output            string
	decode, assertion bool
}

// A tokenReport is what token prints; docs/schema/token.json has its schema.
type tokenReport struct {
	Token          string    `json:"token"`
	Type           string    `json:"type"`
	Resource       string    `json:"resource"`
	ExpiresOn      time.Time `json:"expiresOn,omitzero"`
	ClientID       string    `json:"clientId"`
	TenantID       string    `json:"tenantId"`
	ServiceAccount string    `json:"serviceAccount,omitempty"`
}

func (o *tokenCommand) run(ctx context.Context, r *command.Env) error {
	switch {
	case o.assertion && o.resource != "":
		return errors.New("--assertion and --resource exclude each other: a service account's token is for Entra alone, see --audience")
	case !o.assertion && o.resource == "":
		return errors.New("--resource is required: what the token is for, such as https://vault.azure.net or https://management.azure.com")
	case len(o.workload.Accounts) > 1:
		return errors.New("--service-account: one at a time")
	}
	workloads, err := o.workload.Workloads(ctx, r)
	if err != nil {
		return err
	}
	done := r.Waiting("Entra")
	report, err := o.get(ctx, workloads[0])
	done()
	if err != nil {
		return err
	}
	if o.decode {
		return o.printClaims(r, report.Token)
	}
	if o.output == "exec-credential" {
		// Source: https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
		return r.Print("json", map[string]any{
			"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
			"status": map[string]any{"token": report.Token, "expirationTimestamp": report.ExpiresOn},
		}, nil)
	}
	if o.output == "text" {
		_, err := fmt.Fprintln(r.Data, report.Token)
		return err
	}
	return r.Print(o.output, report, nil)
}

func (o *tokenCommand) get(ctx context.Context, w exchange.Workload) (tokenReport, error) {
	report := tokenReport{ClientID: w.ClientID, TenantID: w.TenantID, ServiceAccount: w.Account, Resource: o.resource}
	assertion, expires, err := w.Assertions(ctx)
	if err != nil {
		return tokenReport{}, err
	}
	if o.assertion {
		report.Token, report.Type = assertion, "Bearer"
		report.Resource = cmp.Or(o.workload.Audience, w.Audience)
		report.ExpiresOn = expires.UTC()
		if claims, err := oidc.DecodeClaims(assertion); err == nil {
			report.Resource = exchange.Audiences(claims["aud"])
			if exp, ok := claims["exp"].(json.Number); ok && expires.IsZero() {
				if seconds, err := exp.Int64(); err == nil {
					report.ExpiresOn = time.Unix(seconds, 0).UTC()
				}
			}
		}
		return report, nil
	}
	now := time.Now()
	token, err := w.Token(ctx, o.resource, o.claims)
	if err != nil {
		return tokenReport{}, exchange.TokenAdvice(err, w, assertion)
	}
	report.Token, report.Type, report.ExpiresOn = token.Value, token.Type, now.Add(token.Lifetime).UTC().Truncate(time.Second)
	return report, nil
}

func (o *tokenCommand) printClaims(r *command.Env, token string) error {
	claims, err := oidc.DecodeClaims(token)
	if err != nil {
		return err
	}
	r.Err.Printf("azwi: the signature was not verified\n")
	form := o.output
	if form == "text" || form == "exec-credential" {
		form = "json"
	}
	return r.Print(form, claims, nil)
}
