package azure

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"azwi/internal/finding"
)

// An unreachable error says that a service of Azure was never reached: refused, unknown
// or not trusted. The SDK would try again for 20 seconds before it says so. Once a
// service has answered, a lost connection is an interruption, and worth more tries.
type unreachable struct{ error }

// NonRetriable tells the SDK to give up.
func (unreachable) NonRetriable() {}

func (u unreachable) Unwrap() error { return u.error }

// neverReached is err as an unreachable error if that is what it says, else nil.
func neverReached(r *http.Request, err error) error {
	if r.Context().Err() != nil {
		return nil
	}
	op, dial := errors.AsType[*net.OpError](err)
	untrusted, tls := errors.AsType[*tls.CertificateVerificationError](err)
	why := ""
	switch {
	case tls:
		why = untrusted.Error()
	case dial && (op.Op == "dial" || op.Op == "proxyconnect"):
		why = op.Error()
	default:
		return nil
	}
	return unreachable{finding.AzureUnreachable(r.URL.Host, why).Err(err)}
}

// signInFailure is the context's key of where a sign-in's unreachable error is kept: the
// SDK's own error has only its text.
type signInFailure struct{}

// A plain credential fails with what was unreachable, not with what the SDK makes of it.
type plain struct{ azcore.TokenCredential }

func (p plain) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	kept := new(error)
	token, err := p.TokenCredential.GetToken(context.WithValue(ctx, signInFailure{}, kept), o)
	if err != nil && *kept != nil {
		err = *kept
	}
	return token, err
}
