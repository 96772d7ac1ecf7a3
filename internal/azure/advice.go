package azure

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"azwi/internal/finding"
)

// SignInError reports whether err means that no token was to be had, and which
// AADSTS code Entra gave, or 0.
func SignInError(err error) (code int, ok bool) {
	if failed, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		return tokenError(failed.RawResponse).code(), true
	}
	if _, answered := errors.AsType[*azcore.ResponseError](err); answered {
		return 0, false
	}
	if _, answered := errors.AsType[*AnswerError](err); answered {
		return 0, false
	}
	// azidentity's other errors, such as that az is missing, have no exported type.
	_, ok = errors.AsType[interface {
		error
		NonRetriable()
	}](err)
	return 0, ok
}

// An entraError is the body of the token endpoint's refusal.
type entraError struct {
	Description string `json:"error_description"`
	Codes       []int  `json:"error_codes"`
}

func tokenError(resp *http.Response) entraError {
	var body entraError
	decode(resp, &body)
	return body
}

func (e entraError) code() int {
	if len(e.Codes) == 0 {
		return 0
	}
	return e.Codes[0]
}

// decode reads the body of an answer that the SDK has kept. One that is something
// else leaves out as it is.
func decode(resp *http.Response, out any) {
	if resp == nil {
		return
	}
	raw, err := runtime.Payload(resp)
	if err == nil {
		_ = json.Unmarshal(raw, out)
	}
}

// Brief is err on one line: the SDK's errors quote the whole answer, over many.
func Brief(err error) string {
	text := err.Error()
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok {
		var body struct {
			Error struct{ Message string }
		}
		decode(answer.RawResponse, &body)
		brief := fmt.Sprintf("%d %s", answer.StatusCode, answer.ErrorCode)
		if message := oneLine(body.Error.Message); message != "" {
			brief += ": " + message
		}
		text = strings.Replace(text, answer.Error(), brief, 1)
	}
	if failed, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		if description := oneLine(tokenError(failed.RawResponse).Description); description != "" {
			description, _, _ = strings.Cut(description, " Trace ID:")
			text = strings.Replace(text, failed.Error(), "no token: "+description, 1)
		}
	}
	return text
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Advice is one line that says what to do about a refusal of Entra, Graph or
// Resource Manager; empty if nothing is known.
func Advice(err error) string {
	if code, ok := SignInError(err); ok {
		return finding.Explain(code).Advice
	}
	status, code := StatusOf(err)
	return finding.AzureAdvice(status, code)
}
