package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"azwi/internal/oidc"
)

func TestExec(t *testing.T) { suite{folder: "exec"}.run(t) }

// client is a program that uses Azure, run under azwi exec:
//
//	client managed|workload RESOURCE   prints whose token the Go SDK gets
//	client raw RESOURCE                the same without an SDK, in each form
//	client attack                      asks as somebody who does not know the secret
func client() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) //nolint:forbidigo // a program begins its context
	defer cancel()
	if err := runClient(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func runClient(ctx context.Context, args []string) error {
	switch args[0] {
	case "managed":
		credential, err := azidentity.NewManagedIdentityCredential(nil)
		if err != nil {
			return err
		}
		return printIdentity(ctx, credential, args[1])
	case "workload":
		credential, err := azidentity.NewWorkloadIdentityCredential(nil)
		if err != nil {
			return err
		}
		return printIdentity(ctx, credential, args[1])
	case "raw":
		return raw(ctx, args[1])
	case "attack":
		return attack(ctx)
	}
	return fmt.Errorf("unknown %q", args[0])
}

func printIdentity(ctx context.Context, credential azcore.TokenCredential, resource string) error {
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{resource + "/.default"}})
	if err != nil {
		return err
	}
	return printClaims(token.Token)
}

func printClaims(token string) error {
	claims, err := oidc.DecodeClaims(token)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(os.Stdout, "token of", claims["appid"], "for", claims["aud"])
	return err
}

// A call is one request to the endpoint.
type call struct {
	method, url string
	header      map[string]string
	form        url.Values
}

func (c call) do(ctx context.Context) (status int, token string, err error) {
	req, err := http.NewRequestWithContext(ctx, c.method, c.url, strings.NewReader(c.form.Encode()))
	if err != nil {
		return 0, "", err
	}
	if c.form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range c.header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", err
	}
	var answer struct {
		Token string `json:"access_token"`
	}
	_ = json.Unmarshal(body, &answer) // a refusal may be anything
	return resp.StatusCode, answer.Token, nil
}

func raw(ctx context.Context, resource string) error {
	query := "&resource=" + url.QueryEscape(resource)
	for _, c := range []call{
		{"GET", os.Getenv("IDENTITY_ENDPOINT") + "?api-version=2019-08-01" + query, map[string]string{"X-IDENTITY-HEADER": os.Getenv("IDENTITY_HEADER")}, nil},
		{"GET", os.Getenv("MSI_ENDPOINT") + "?api-version=2017-09-01" + query, map[string]string{"secret": os.Getenv("MSI_SECRET")}, nil},
		{"POST", os.Getenv("MSI_ENDPOINT"), map[string]string{"Metadata": "true"}, url.Values{"resource": {resource}}}, // az
	} {
		status, token, err := c.do(ctx)
		if err != nil {
			return err
		}
		if status != http.StatusOK {
			return fmt.Errorf("%s: status %d", c.method, status)
		}
		if err := printClaims(token); err != nil {
			return err
		}
	}
	return nil
}

// attack asks in every form, without the secret or with a wrong one.
func attack(ctx context.Context) error {
	endpoint, err := url.Parse(os.Getenv("IDENTITY_ENDPOINT"))
	if err != nil {
		return err
	}
	origin := "http://" + endpoint.Host
	const query = "?api-version=2019-08-01&resource=https://vault.azure.net"
	wrong := strings.Repeat("0", len(os.Getenv("IDENTITY_HEADER")))
	metadata := map[string]string{"Metadata": "true"}
	form := url.Values{"resource": {"https://vault.azure.net"}}
	for i, c := range []call{
		{"GET", origin + "/metadata/identity/oauth2/token" + query, metadata, nil},
		{"GET", origin + "/metadata/identity/oauth2/token/" + query, metadata, nil},
		{"GET", origin + "//Metadata/./identity/oauth2/token" + query, metadata, nil},
		{"GET", origin + "/msi/token" + query, metadata, nil},
		{"POST", origin + "/msi/token", metadata, form},
		{"POST", origin + "/" + wrong + "/msi/token", metadata, form},
		{"GET", origin + "/" + wrong + "/msi/token" + query, map[string]string{"X-IDENTITY-HEADER": wrong}, nil},
		{"GET", origin + "/msi/token" + query, map[string]string{"X-IDENTITY-HEADER": os.Getenv("IDENTITY_HEADER")}, nil},
		// who knows the URL alone, from some log
		{"GET", endpoint.String() + query, nil, nil},
		{"GET", endpoint.String() + query, map[string]string{"X-IDENTITY-HEADER": wrong}, nil},
		{"GET", endpoint.String() + query, map[string]string{"secret": wrong}, nil},
		{"POST", endpoint.String(), nil, form}, // a page in a browser, which can't set the header
		{"POST", endpoint.String(), map[string]string{"Metadata": "true", "X-Forwarded-For": "10.0.0.1"}, form},
		{"GET", origin + "/", nil, nil},
	} {
		status, token, err := c.do(ctx)
		if err != nil {
			return err
		}
		if status < 400 || token != "" {
			return fmt.Errorf("request %d, %s %s, got status %d", i, c.method, c.url, status)
		}
	}
	_, err = fmt.Fprintln(os.Stdout, "nothing")
	return err
}
