package azure

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"azwi/internal/finding"
	"azwi/internal/retryafter"
)

// ConcurrentWrites is the error code of a second write of a federated credential
// to the same managed identity while the first is under way.
const ConcurrentWrites = "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity"

// A Refusal is what an error of a request to Azure means, whichever of the SDK's it is.
type Refusal struct {
	// SignIn says that there was no token to send the request with. Other fields are
	// then about the token endpoint's answer.
	SignIn bool
	// Status is the answer's; 0 if there was none.
	Status int
	// Code is the service's, for example AuthorizationFailed or, of a token endpoint,
	// invalid_client.
	Code string
	// AADSTS is the number that a token endpoint gave, or 0.
	AADSTS int
	// Message is the answer's, on one line.
	Message string
	// Class says whether another try may help.
	Class finding.Class
	// RetryAfter is how long the answer asks to wait, at most a day; 0 if it does not.
	RetryAfter time.Duration
	// RequestID helps Microsoft's support to find the request.
	RequestID string

	sdk error // that with the answer
}

// Refused reads an error. One that is not about Azure is permanent, without a status.
func Refused(err error) Refusal {
	if failed, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		var body struct {
			Name          string `json:"error"`
			Description   string `json:"error_description"`
			Codes         []int  `json:"error_codes"`
			CorrelationID string `json:"correlation_id"`
		}
		r := answered(failed, failed.RawResponse, &body)
		r.SignIn, r.Code, r.RequestID = true, body.Name, cmp.Or(body.CorrelationID, r.RequestID)
		r.Message, _, _ = strings.Cut(oneLine(body.Description), " Trace ID:")
		if len(body.Codes) > 0 {
			r.AADSTS = body.Codes[0]
		}
		r.Class = finding.ClassOf(r.Status, r.AADSTS)
		return r
	}
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok {
		var body struct {
			Error struct{ Message string }
		}
		r := answered(answer, answer.RawResponse, &body)
		r.Status, r.Code, r.Message = answer.StatusCode, answer.ErrorCode, oneLine(body.Error.Message)
		r.Class = finding.ClassOf(r.Status, 0)
		if r.Status == http.StatusConflict && r.Code == ConcurrentWrites {
			r.Class = finding.Transient // the other write ends
		}
		return r
	}
	if _, ok := errors.AsType[*AnswerError](err); ok {
		return Refusal{}
	}
	if _, ok := errors.AsType[unreachable](err); ok {
		return Refusal{}
	}
	// azidentity's other errors, such as that az is missing, have no exported type.
	if _, ok := errors.AsType[interface {
		error
		NonRetriable()
	}](err); ok {
		return Refusal{SignIn: true}
	}
	if _, lost := errors.AsType[net.Error](err); lost || errors.Is(err, io.ErrUnexpectedEOF) {
		return Refusal{Class: finding.Transient}
	}
	return Refusal{}
}

// answered reads the answer that an error of the SDK has kept. A body that is
// something else leaves out as it is.
func answered(sdk error, resp *http.Response, out any) Refusal {
	if resp == nil {
		return Refusal{sdk: sdk}
	}
	if raw, err := runtime.Payload(resp); err == nil {
		_ = json.Unmarshal(raw, out)
	}
	return Refusal{
		Status: resp.StatusCode, RetryAfter: retryafter.Of(resp.Header, time.Now()),
		RequestID: cmp.Or(resp.Header.Get("X-Ms-Request-Id"), resp.Header.Get("Request-Id")), sdk: sdk,
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// StatusOf returns the HTTP status and error code of an answer of Graph or
// Resource Manager, or 0 if err is none.
func StatusOf(err error) (status int, code string) {
	if r := Refused(err); !r.SignIn {
		return r.Status, r.Code
	}
	return 0, ""
}

// NotFound reports whether the object does not exist.
func NotFound(err error) bool {
	status, _ := StatusOf(err)
	return status == http.StatusNotFound
}

// Forbidden reports whether the caller may not do it.
func Forbidden(err error) bool {
	status, _ := StatusOf(err)
	return status == http.StatusForbidden
}

// Brief is err on one line: the SDK's errors quote the whole answer, over many.
func Brief(err error) string {
	r, brief := Refused(err), ""
	switch {
	case r.SignIn && r.Message != "":
		brief = "no token: " + r.Message
	case r.sdk != nil && !r.SignIn:
		brief = fmt.Sprintf("%d %s", r.Status, r.Code)
		if r.Message != "" {
			brief += ": " + r.Message
		}
	default:
		return err.Error()
	}
	return strings.Replace(err.Error(), r.sdk.Error(), brief, 1)
}

// Advice is one line that says what to do about a refusal of Entra, Graph or
// Resource Manager; empty if nothing is known.
func Advice(err error) string {
	r := Refused(err)
	if r.SignIn {
		return finding.Explain(r.AADSTS).Advice
	}
	return finding.AzureAdvice(r.Status, r.Code)
}
