// Command workload is what an application developer writes: it gets a token by
// azidentity's WorkloadIdentityCredential, from nothing but the pod's environment,
// and reads a secret of a Key Vault with it.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"azwi/internal/finding"
)

func main() {
	if err := run(os.Stdout); err != nil {
		explain(err)
		os.Exit(1)
	}
}

func run(out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		// A local authority is unknown to Microsoft's instance discovery.
		DisableInstanceDiscovery: true,
	})
	if err != nil {
		return err
	}
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "access token for %s\n", claims(token.Token))
	vault, err := azsecrets.NewClient(os.Getenv("VAULT_URL"), credential, &azsecrets.ClientOptions{
		DisableChallengeResourceVerification: true, // the local vault is not below vault.azure.net
	})
	if err != nil {
		return err
	}
	secret, err := vault.GetSecret(ctx, "greeting", "", nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "secret greeting: %q\n", *secret.Value)
	return nil
}

// claims shows what a token says, never the token.
func claims(token string) string {
	var c struct {
		Aud, Appid, Oid string
		Exp             int64
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "(opaque)"
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		return "(opaque)"
	}
	return fmt.Sprintf("%s, client ID %s, valid for %s", c.Aud, c.Appid, time.Until(time.Unix(c.Exp, 0)).Round(time.Hour))
}

// explain prints the token endpoint's own words and one line of advice.
func explain(err error) {
	var failed *azidentity.AuthenticationFailedError
	if errors.As(err, &failed) && failed.RawResponse != nil {
		var body struct {
			ErrorDescription string `json:"error_description"`
			ErrorCodes       []int  `json:"error_codes"`
		}
		raw, readErr := io.ReadAll(io.LimitReader(failed.RawResponse.Body, 64<<10))
		if readErr == nil && json.Unmarshal(raw, &body) == nil && len(body.ErrorCodes) > 0 {
			text, _, _ := strings.Cut(body.ErrorDescription, " Trace ID:")
			fmt.Fprintln(os.Stderr, strings.ReplaceAll(text, "\r\n", " "))
			fmt.Fprintln(os.Stderr, "advice:", finding.Explain(body.ErrorCodes[0]).Advice)
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
}
