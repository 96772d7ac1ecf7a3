package entra

// Class says what to do about an error of the token endpoint.
type Class int

const (
	// Permanent errors stay until somebody changes something.
	Permanent Class = iota
	// Replication errors may vanish while a new credential spreads through the
	// directory; later they are permanent. Asking too often makes them last.
	Replication
	// Transient errors vanish by themselves.
	Transient
)

func (c Class) String() string {
	switch c {
	case Replication:
		return "replication"
	case Transient:
		return "transient"
	default:
		return "permanent"
	}
}

// An Explanation is what an AADSTS code means to somebody who uses workload
// identity.
type Explanation struct {
	Class Class
	// Advice is one line that says what to do next. Empty for unknown codes.
	Advice string
}

// Explain returns what is known of an AADSTS code (the first element of
// error_codes in the token endpoint's answer). Unknown codes are permanent and
// without advice.
//
// Source: https://learn.microsoft.com/entra/identity-platform/reference-error-codes
// and public issue threads; the classes are this project's judgement.
func Explain(code int) Explanation {
	switch code {
	case 70021:
		return Explanation{Replication, "no federated identity credential matches the token: compare its issuer, subject and audience with the credential's, character by character; a new credential needs some minutes to spread"}
	case 700211:
		return Explanation{Replication, "no federated identity credential has this issuer: compare it with the cluster's issuer URL, trailing slash included; a new credential needs some minutes to spread"}
	case 700212:
		return Explanation{Replication, "no federated identity credential has this audience: set it to the audience of the projected token, usually api://AzureADTokenExchange"}
	case 700213:
		return Explanation{Replication, "no federated identity credential has this subject: create one for system:serviceaccount:NAMESPACE:NAME of the pod's service account; a new credential needs some minutes to spread"}
	case 7002138:
		return Explanation{Permanent, "the credential's subject differs from the token's in upper and lower case only: write it exactly as the token has it"}
	case 7002131:
		return Explanation{Permanent, "no expression of a flexible federated credential matches this subject: correct claimsMatchingExpression"}
	case 70025:
		return Explanation{Replication, "the identity has no federated identity credential at all: create one for this cluster's issuer and the pod's service account"}
	case 70023:
		return Explanation{Permanent, "the token lives longer than 25 hours: set the service account token's expiration to at most 86400 seconds"}
	case 70052:
		return Explanation{Permanent, "this kind of identity can't be federated: use a managed identity or a single-tenant application"}
	case 700016:
		return Explanation{Permanent, "the client ID is not known in this tenant: check the annotations azure.workload.identity/client-id and tenant-id on the service account"}
	case 7000229:
		return Explanation{Permanent, "the application has no service principal in this tenant: create one with az ad sp create --id CLIENT_ID"}
	case 700024:
		return Explanation{Permanent, "the token has expired or is not valid yet: read the token file again for every exchange, and check the node's clock"}
	case 700027, 5002730:
		return Explanation{Permanent, "the token's signature can't be verified: the issuer must publish the key it signs with in its JWKS, and sign with RS256"}
	case 50027:
		return Explanation{Permanent, "the assertion is no valid JWT: the token file is damaged, empty or something else"}
	case 7000272:
		return Explanation{Permanent, "the key that signed the token is not in the issuer's JWKS: publish the cluster's current keys"}
	case 50166, 501661, 90061:
		return Explanation{Transient, "Entra could not fetch the issuer's discovery document or keys: both must be public, over https, with a well-known certificate"}
	case 900612:
		return Explanation{Permanent, "the issuer's JWKS can't be parsed: publish what the API server serves at /openid/v1/jwks"}
	case 90002:
		return Explanation{Permanent, "the tenant is not known in this cloud: check AZURE_TENANT_ID and AZURE_AUTHORITY_HOST"}
	case 500011:
		return Explanation{Permanent, "the resource is not known in this tenant: check its spelling, or consent to the application in this tenant"}
	case 70011, 1002012:
		return Explanation{Permanent, "the scope must be a resource followed by /.default"}
	case 7000215, 7000222:
		return Explanation{Permanent, "the client secret is wrong or has expired: use the secret's value, not its ID"}
	case 7000216, 7000218, 900144, 90014:
		return Explanation{Permanent, "the request lacks a required parameter"}
	case 700222, 700226, 700238:
		return Explanation{Permanent, "a token issued by Entra can't be used here: present the service account's token"}
	case 53003:
		return Explanation{Permanent, "a Conditional Access policy blocks this workload identity: ask its administrator"}
	case 90033:
		return Explanation{Transient, "Entra has a passing fault: try again"}
	case 90055:
		return Explanation{Transient, "Entra throttles these requests: wait as Retry-After says"}
	}
	return Explanation{Class: Permanent}
}
