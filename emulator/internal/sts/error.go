package sts

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"azwi/emulator/internal/wire"
	"azwi/internal/finding"
)

// An Error is an answer of the token service other than success.
type Error struct {
	// Code is the number after AADSTS.
	Code int
	// Kind is the error of RFC 6749, for example invalid_client.
	Kind   string
	Status int
	Text   string
}

func (e *Error) Error() string { return fmt.Sprintf("AADSTS%d: %s", e.Code, e.Text) }

// seeFederation ends the texts about federated credentials.
const seeFederation = " Check your federated identity credential Subject, Audience and Issuer against the presented assertion. https://learn.microsoft.com/entra/workload-id/workload-identity-federation"

// fail builds the error of a code. args fill the text; they come from the
// request or the directory and are never a secret. A code that the table lacks is
// answered by its number alone, as Entra does where it says no more.
//
// Source: protocol.md section D, that is Microsoft's list of AADSTS error codes
// and public issue threads.
func fail(code int, args ...any) *Error {
	e := &Error{Code: code, Kind: "invalid_client", Status: http.StatusUnauthorized}
	request := func() { e.Kind, e.Status = "invalid_request", http.StatusBadRequest }
	var format string
	switch code {
	case finding.AADSTSNoMatch:
		format = "No matching federated identity record found for presented assertion. Assertion Issuer: '%s'. Assertion Subject: '%s'. Assertion Audience: '%s'. https://docs.microsoft.com/en-us/azure/active-directory/develop/workload-identity-federation"
	case finding.AADSTSNoIssuer:
		format = "No matching federated identity record found for presented assertion issuer '%s'." + seeFederation
	case finding.AADSTSNoAudience:
		format = "No matching federated identity record found for presented assertion audience '%s'." + seeFederation
	case finding.AADSTSNoSubject:
		format = "No matching federated identity record found for presented assertion subject '%s'." + seeFederation
	case finding.AADSTSSubjectCase:
		format = "No matching federated identity record found for presented assertion subject '%s'. The subject matches with case-insensitive comparison, but not with case-sensitive comparison." + seeFederation
	case finding.AADSTSNoExpression:
		format = "No matching federated identity record found for presented assertion subject '%s'. No federated identity credential expression matched." + seeFederation
	case finding.AADSTSNoCredential:
		format = "The client '%s' has no configured federated identity credentials."
	case finding.AADSTSLongLived:
		request()
		format = "External OIDC Provider token must have a lifetime of less than or equal to 1.01:00:00"
	case finding.AADSTSUnknownClient:
		e.Kind, e.Status = "unauthorized_client", http.StatusBadRequest
		format = "Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."
	case finding.AADSTSNoPrincipal:
		e.Kind = "unauthorized_client"
		format = "The client application '%s' is missing service principal in the tenant '%s'. See instructions here: https://go.microsoft.com/fwlink/?linkid=2225119"
	case finding.AADSTSLifetime:
		format = "Client assertion is not within its valid time range. Current time: %s, assertion valid from %s, expiry time of assertion %s. Review the documentation at https://docs.microsoft.com/azure/active-directory/develop/active-directory-certificate-credentials ."
	case finding.AADSTSAssertionAudience:
		format = "Client assertion audience claim does not match Realm issuer. Review the documentation at https://docs.microsoft.com/azure/active-directory/develop/active-directory-certificate-credentials ."
	case finding.AADSTSSignature:
		format = "Client assertion contains an invalid signature. [Reason - %s]"
	case finding.AADSTSMalformed:
		request()
		format = "JWT token is invalid or malformed."
	case finding.AADSTSAlgorithm:
		request()
		format = "Invalid JWT token. '%s' is not a supported signature algorithm. Supported signing algorithms are: '%s'"
	case finding.AADSTSIssuerUnreachable:
		request()
		format = "Request to External OIDC endpoint failed."
	case finding.AADSTSIssuerKeys:
		request()
		format = "Failed to parse provider signing keys."
	case finding.AADSTSUnknownTenant:
		request()
		format = "Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant."
	case finding.AADSTSUnknownAuthority:
		e.Kind, e.Status = "invalid_instance", http.StatusBadRequest
		format = "Unknown or invalid instance."
	case finding.AADSTSUnknownResource:
		e.Kind, e.Status = "invalid_resource", http.StatusBadRequest
		format = "The resource principal named %s was not found in the tenant named %s. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant."
	case finding.AADSTSScope:
		e.Kind, e.Status = "invalid_scope", http.StatusBadRequest
		format = "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope %s is not valid."
	case finding.AADSTSScopeSuffix:
		e.Kind, e.Status = "invalid_scope", http.StatusBadRequest
		format = "The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."
	case finding.AADSTSNoProof:
		format = "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type."
	case finding.AADSTSWrongSecret:
		format = "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'."
	case finding.AADSTSExpiredSecret:
		format = "The provided client secret keys for app '%s' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds."
	case finding.AADSTSMissingParameter:
		request()
		format = "The request body must contain the following parameter: '%s'."
	case finding.AADSTSMethod:
		request()
		format = "The endpoint only accepts %s requests. Received a %s request."
	case finding.AADSTSGrantType:
		e.Kind, e.Status = "unsupported_grant_type", http.StatusBadRequest
		format = "The app requested an unsupported grant type '%s'."
	case finding.AADSTSEntraToken:
		format = "AAD-issued tokens may not be used for federated identity flows."
	case finding.AADSTSEntraAudience: // the number is public, this text is not
		format = "The audience '%s' may not be used for tokens issued by Microsoft Entra: it must be api://AzureADTokenExchange."
	case finding.AADSTSFederatedToken: // the number is public, this text is not
		format = "Tokens acquired with a federated identity credential may not be used for federated identity flows."
	case finding.AADSTSNoManagedIdentity:
		format = "Only MSI tokens may be used as Federated Identity Credentials for AAD issuer."
	case finding.AADSTSBusy:
		return Busy(http.StatusServiceUnavailable)
	default:
		request()
		format, args = "The request is refused.", nil
	}
	e.Text = fmt.Sprintf(format, args...)
	return e
}

// Busy is what the token service says when it can't serve for a while, with the
// status of a fault.
func Busy(status int) *Error {
	e := &Error{Code: finding.AADSTSBusy, Kind: "temporarily_unavailable", Status: status, Text: "A transient error has occurred. Please try again."}
	if status == http.StatusTooManyRequests {
		e.Code, e.Text = finding.AADSTSThrottled, "The tenant is throttled because of too many requests. Please try again later."
	}
	return e
}

// timestamp is how the token service writes times in errors.
const timestamp = "2006-01-02 15:04:05Z"

// WriteError answers with e. authority is without a slash at its end.
func WriteError(w http.ResponseWriter, r *http.Request, authority string, now time.Time, e *Error) {
	trace, correlation := ids(w, r)
	stamp := now.UTC().Format(timestamp)
	write(w, e.Status, map[string]any{
		"error": e.Kind,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
			e.Code, e.Text, trace, correlation, stamp),
		"error_codes":    []int{e.Code},
		"timestamp":      stamp,
		"trace_id":       trace,
		"correlation_id": correlation,
		"error_uri":      authority + "/error?code=" + strconv.Itoa(e.Code),
	})
}

// ids sets the headers that identify a request and returns its trace and
// correlation IDs.
func ids(w http.ResponseWriter, r *http.Request) (trace, correlation string) {
	trace = uuid.NewString()
	w.Header().Set("x-ms-request-id", trace)
	for _, candidate := range []string{r.Header.Get("client-request-id"), r.Form.Get("client-request-id")} {
		if correlation = wire.GUID(candidate); correlation != "" {
			break
		}
	}
	if correlation == "" {
		return trace, uuid.NewString()
	}
	if r.Header.Get("return-client-request-id") == "true" {
		w.Header().Set("client-request-id", correlation)
	}
	return trace, correlation
}

// write sends JSON that nobody may store.
func write(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Cache-Control", "no-store, no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	wire.JSON(w, status, v)
}
