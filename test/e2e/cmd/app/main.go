// Command app is an application in a pod of the end-to-end tests. Its argument says
// what it does:
//
//	managed   read a secret with azidentity's ManagedIdentityCredential
//	http      ask the metadata address for a token by plain HTTP
//	wait      run until it is stopped
//	identity  check that the pod has an identity, then run until it is stopped
//	rotation  exchange the projected token, and again when the kubelet has renewed it
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"azwi/contract"
)

const vaultScope = "https://vault.azure.net/.default"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("want one argument")
	}
	switch args[0] {
	case "managed":
		return managed(ctx, out)
	case "wait":
		<-ctx.Done()
		return nil
	case "http":
		return plain(ctx, out)
	case "identity":
		return identity(ctx, out)
	case "rotation":
		return rotation(ctx, out)
	}
	return fmt.Errorf("unknown argument %q", args[0])
}

func managed(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	credential, err := azidentity.NewManagedIdentityCredential(nil)
	if err != nil {
		return err
	}
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

// plain asks as a shell script with curl does.
func plain(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Metadata", "true")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, body)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	fmt.Fprintf(out, "token for client %v\n", claims(answer.AccessToken)["appid"])
	return nil
}

func identity(ctx context.Context, out io.Writer) error {
	var missing []string
	for _, name := range []string{contract.EnvClientID, contract.EnvTenantID, contract.EnvAuthorityHost, contract.EnvFederatedTokenFile} {
		if os.Getenv(name) == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("started without identity: no %s", strings.Join(missing, ", "))
	}
	token, err := os.ReadFile(os.Getenv(contract.EnvFederatedTokenFile))
	if err != nil {
		return fmt.Errorf("started without identity: %w", err)
	}
	fmt.Fprintf(out, "identity of %v\n", claims(string(token))["sub"])
	<-ctx.Done()
	return nil
}

func rotation(ctx context.Context, out io.Writer) error {
	first, err := exchange(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "first token exchanged")
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return errors.New("the token was not renewed")
		case <-tick.C:
		}
		now, err := os.ReadFile(os.Getenv(contract.EnvFederatedTokenFile))
		if err != nil {
			return err
		}
		if !bytes.Equal(now, first) {
			break
		}
	}
	if _, err := exchange(ctx); err != nil {
		return err
	}
	fmt.Fprintln(out, "renewed token exchanged")
	return nil
}

// exchange gets an access token with what lies in the token file now, past every cache.
func exchange(ctx context.Context) ([]byte, error) {
	token, err := os.ReadFile(os.Getenv(contract.EnvFederatedTokenFile))
	if err != nil {
		return nil, err
	}
	credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{DisableInstanceDiscovery: true})
	if err != nil {
		return nil, err
	}
	_, err = credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{vaultScope}})
	return token, err
}

// claims are what a token says; nil if it is none.
func claims(token string) map[string]any {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var c map[string]any
	if json.Unmarshal(raw, &c) != nil {
		return nil
	}
	return c
}
