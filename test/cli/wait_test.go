package cli_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"azwi/emulator"
)

func TestWait(t *testing.T) {
	suite{folder: "wait", commands: map[string]func(*testscript.TestScript, bool, []string){"manage": manage}}.run(t)
}

// manage sends a request to Resource Manager as the operator: manage METHOD PATH
// FILE, where the path follows the resource group's.
func manage(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: manage METHOD PATH FILE")
	}
	proxy, err := url.Parse(ts.Getenv("HTTPS_PROXY"))
	ts.Check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ts.ReadFile(ts.Getenv("SSL_CERT_FILE"))))
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, Proxy: http.ProxyURL(proxy),
	}}
	answer, err := client.PostForm("https://login.microsoftonline.com/"+emulator.DefaultTenantID+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {emulator.DefaultOperatorID},
		"client_secret": {emulator.DefaultOperatorSecret}, "scope": {"https://management.azure.com/.default"},
	})
	ts.Check(err)
	defer answer.Body.Close()
	var token struct {
		Value string `json:"access_token"`
	}
	ts.Check(json.NewDecoder(answer.Body).Decode(&token))
	text := os.Expand(ts.ReadFile(args[2]), ts.Getenv)
	target := "https://management.azure.com/subscriptions/" + emulator.DefaultSubscriptionID + "/resourceGroups/" + emulator.DefaultResourceGroup + args[1]
	req, err := http.NewRequest(args[0], target, strings.NewReader(text))
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+token.Value)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		ts.Fatalf("%s %s: %s", args[0], args[1], resp.Status)
	}
}
