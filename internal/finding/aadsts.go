package finding

import (
	"net/http"
	"slices"
)

// Class says what to do about a refusal.
type Class int

const (
	// Permanent refusals do not go away by retrying.
	Permanent Class = iota
	// Replication refusals may vanish while a new credential spreads through the directory;
	// later they are permanent. Asking too often makes them last.
	Replication
	// Transient refusals vanish by themselves.
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

// Retry tells people whether another try can succeed.
func (c Class) Retry() string {
	switch c {
	case Replication:
		return "may resolve itself: a new credential takes a few minutes to replicate"
	case Transient:
		return "transient: retrying may help"
	default:
		return "permanent: retrying does not help"
	}
}

// AADSTSSource is the public page that lists the codes.
const AADSTSSource = "https://learn.microsoft.com/entra/identity-platform/reference-error-codes"

// ClassOf judges an answer of Entra, Graph or Resource Manager by its AADSTS code, 0 if it
// has none, or else by its HTTP status.
func ClassOf(status, aadsts int) Class {
	if class := Explain(aadsts).Class; class != Permanent {
		return class
	}
	if status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= http.StatusInternalServerError {
		return Transient
	}
	return Permanent
}

// An AADSTS explains error codes of Entra's token endpoint in terms of workload identity.
type AADSTS struct {
	// Codes are the numbers after AADSTS that mean the same.
	Codes []int
	Class Class
	// Advice is one line that says what is wrong and what to do next.
	Advice string
}

// Explain returns what is known of an AADSTS code (the first element of error_codes in
// the token endpoint's response). Unknown codes are permanent and have no advice. The advice
// fits any issuer's token; Presented.Advice takes the presented one into account.
func Explain(code int) AADSTS {
	for _, a := range AADSTSCodes() {
		if slices.Contains(a.Codes, code) {
			return a
		}
	}
	return AADSTS{}
}

// Codes that the emulator brings about, each in a row of AADSTSCodes.
const (
	AADSTSNoMatch           = 70021
	AADSTSNoIssuer          = 700211
	AADSTSNoAudience        = 700212
	AADSTSNoSubject         = 700213
	AADSTSNoCredential      = 70025
	AADSTSSubjectCase       = 7002138
	AADSTSNoExpression      = 7002131
	AADSTSLongLived         = 70023
	AADSTSEntraAudience     = 700214
	AADSTSFederatedToken    = 700231
	AADSTSEntraToken        = 700222
	AADSTSNoManagedIdentity = 700226
	AADSTSUnknownClient     = 700016
	AADSTSNoPrincipal       = 7000229
	AADSTSLifetime          = 700024
	AADSTSSignature         = 700027
	AADSTSMalformed         = 50027
	AADSTSAlgorithm         = 5002738
	AADSTSAssertionAudience = 700023
	AADSTSIssuerUnreachable = 50166
	AADSTSIssuerKeys        = 900612
	AADSTSUnknownTenant     = 90002
	AADSTSUnknownAuthority  = 50049
	AADSTSUnknownResource   = 500011
	AADSTSScope             = 70011
	AADSTSScopeSuffix       = 1002012
	AADSTSGrantType         = 70003
	AADSTSWrongSecret       = 7000215
	AADSTSExpiredSecret     = 7000222
	AADSTSNoProof           = 7000216
	AADSTSMissingParameter  = 900144
	AADSTSMethod            = 900561
	AADSTSThrottled         = 90055
	AADSTSBusy              = 90033
)

// AADSTSCodes returns all that is known: what the reference lists for token requests with
// client credentials; what only users meet is left out. Source: AADSTSSource and public
// issue threads; the classes are this project's judgement.
func AADSTSCodes() []AADSTS {
	return []AADSTS{
		{[]int{AADSTSNoMatch}, Replication, "no federated identity credential matches the token: compare its issuer, subject and audience with the credential's, character by character; a new credential takes a few minutes to replicate"},
		{[]int{AADSTSNoIssuer}, Replication, "no federated identity credential has this issuer: compare it with the token's, trailing slash included; a new credential takes a few minutes to replicate"},
		{[]int{AADSTSNoAudience}, Replication, "no federated identity credential has this audience: set it to the token's audience, usually api://AzureADTokenExchange"},
		{[]int{AADSTSNoSubject}, Replication, "no federated identity credential has this subject: create one with exactly the token's subject; a new credential takes a few minutes to replicate"},
		{[]int{AADSTSNoCredential}, Replication, "the identity has no federated identity credential at all: create one with the token's issuer and subject"},
		{[]int{AADSTSSubjectCase}, Permanent, "the credential's subject differs from the token's in upper and lower case only: write it exactly as the token has it"},
		{[]int{AADSTSNoExpression}, Permanent, "no expression of a flexible federated credential matches this subject: correct claimsMatchingExpression"},
		{[]int{700233, 700234, 700235, 700237, 7002241}, Permanent, "the expression of the flexible federated credential is not valid or not allowed for this issuer: use a credential with an exact subject"},
		{[]int{AADSTSLongLived}, Permanent, "the token is valid for more than 25 hours: have its issuer limit it to 24"},
		{[]int{70052}, Permanent, "this kind of identity can't be federated: use a managed identity or a single-tenant application"},
		{[]int{700223, 700227, 700236, 700238, 7000226}, Permanent, "a policy of the tenant or the application does not allow this federation: ask the tenant's administrator to allow the issuer"},
		{[]int{AADSTSEntraAudience}, Permanent, "a token issued by Entra needs a credential with its own audience: set the credential's audience to api://AzureADTokenExchange, or to this cloud's name for it"},
		{[]int{AADSTSFederatedToken}, Permanent, "a token obtained with a federated credential can't be another identity's assertion: federate that identity with the first token's issuer directly, and present the first token to it"},
		{[]int{AADSTSEntraToken, AADSTSNoManagedIdentity, 700229}, Permanent, "a token issued by Entra can't be used here: only the token of a managed identity, obtained on a machine that has it, can be an assertion, and only for an application"},

		{[]int{AADSTSUnknownClient, 700011}, Permanent, "the client ID is not known in this tenant: check client ID and tenant ID"},
		{[]int{70001, 7000112, 1000031}, Permanent, "the application is disabled in this tenant: ask its administrator to enable the enterprise application"},
		{[]int{AADSTSNoPrincipal}, Permanent, "the application has no service principal in this tenant: create one with az ad sp create --id and the client ID"},
		{[]int{700025}, Permanent, "the application is a public client, which signs in without a credential: turn off \"Allow public client flows\" in its registration"},
		{[]int{50105, 501051}, Permanent, "the identity is not assigned to the application it asks for: assign it one of that application's roles, or turn off \"Assignment required\" there"},

		{[]int{AADSTSLifetime, 50013, 500133}, Permanent, "the token has expired or is not valid yet: read the token again for every exchange, and check the clock"},
		{[]int{AADSTSSignature, 50006, 50012, 700030, 900384}, Permanent, "the token's signature can't be verified: the issuer must publish the key it signs with in its JWKS, and sign with RS256; if a client certificate signed, upload that certificate"},
		{[]int{7000272}, Permanent, "the key that signed the token is not in the issuer's JWKS: publish its current keys"},
		{[]int{5002730, AADSTSAlgorithm}, Permanent, "the token is signed with an algorithm that Entra does not accept: it takes RSA keys only"},
		{[]int{50032}, Permanent, "the RSA key is too weak: sign with a key of at least 2048 bits"},
		{[]int{AADSTSMalformed}, Permanent, "the assertion is not a valid JWT: the token file is damaged, empty or something else"},
		{[]int{50048}, Permanent, "issuer and subject of the client assertion must both be the client ID"},
		{[]int{90016}, Permanent, "the assertion lacks a required claim: present the token as it was issued"},
		{[]int{AADSTSAssertionAudience, 500131, 50010}, Permanent, "the assertion is meant for another audience: check the token's audience, the tenant and AZURE_AUTHORITY_HOST"},
		{[]int{AADSTSIssuerUnreachable, 501661, 90061}, Transient, "Entra could not fetch the issuer's discovery document or keys: both must be public, over https, with a certificate from a public CA"},
		{[]int{AADSTSIssuerKeys}, Permanent, "the issuer's JWKS can't be parsed: publish a JSON Web Key Set of RSA keys"},

		{[]int{AADSTSUnknownTenant, 50059, 50128, 90019}, Permanent, "the tenant is not known in this cloud: check AZURE_TENANT_ID and AZURE_AUTHORITY_HOST"},
		{[]int{AADSTSUnknownAuthority, 50050, 90051}, Permanent, "the authority is not known: check AZURE_AUTHORITY_HOST"},
		{[]int{90038, 90043, 900382, 900432, 1000104}, Permanent, "the tenant or the resource belongs to another cloud: check AZURE_AUTHORITY_HOST, or --azure-env, and the resource"},
		{[]int{50194, 90124, 90130, 9001023, 9002332}, Permanent, "the common endpoints do not serve this application: ask at the tenant's own, by its ID in AZURE_TENANT_ID"},
		{[]int{50002, 500021, 500022}, Permanent, "tenant restrictions of the network block this tenant: ask the administrator of the network's proxy to allow it"},
		{[]int{500212, 500213}, Permanent, "a cross-tenant access policy blocks this tenant: ask the tenant's administrator"},
		{[]int{53003, 530003, 530032, 530035, 50131}, Permanent, "a Conditional Access policy blocks this workload identity: ask its administrator"},

		{[]int{AADSTSUnknownResource, 50001, 650052, 650054}, Permanent, "the resource is not known or not enabled in this tenant: check its spelling, or consent to the application in this tenant"},
		{[]int{65001, 65005, 650056, 650057, 90008, 90094}, Permanent, "the application lacks consent for this resource: ask an administrator to grant it the permission"},
		{[]int{90009}, Permanent, "an application that asks for a token for itself must name itself by its client ID"},
		{[]int{50003, 50146, 501461}, Permanent, "the resource's application lacks the signing key that its claims need: ask its owner to configure one"},
		{[]int{AADSTSScope, AADSTSScopeSuffix, 28002, 28003}, Permanent, "the scope must be a resource followed by /.default"},
		{[]int{700022}, Permanent, "the scope names several resources: ask for one at a time"},
		{[]int{901002}, Permanent, "this endpoint takes scope, not resource: use /oauth2/token for resource"},
		{[]int{AADSTSGrantType}, Permanent, "the grant type is not supported: workload identity uses client_credentials"},
		{[]int{7000114}, Permanent, "the application may not make on-behalf-of requests: use client_credentials"},
		{[]int{100007}, Permanent, "the regional endpoint does not serve this identity: unset AZURE_REGIONAL_AUTHORITY_NAME"},

		{[]int{70002, AADSTSWrongSecret, AADSTSExpiredSecret}, Permanent, "the client secret is wrong or has expired: use the secret's value, not its ID"},
		{[]int{AADSTSNoProof, 7000218, AADSTSMissingParameter, 90014}, Permanent, "the request lacks a required parameter"},
		{[]int{50029, 90004, 90010, 90013, 90015, 90023, 90056, AADSTSMethod, 90100, 90102, 90117, 90121, 9002313, 165900}, Permanent, "Entra does not understand the request: check client ID, tenant and resource for stray characters"},

		{[]int{AADSTSThrottled, 50196}, Transient, "Entra throttles these requests: wait as Retry-After says, and keep tokens until shortly before they expire"},
		{[]int{50000, 50033, 90006, 90012, 90024, AADSTSBusy, 90090, 90091}, Transient, "Entra has a temporary fault: try again"},
		{[]int{90036, 90092}, Permanent, "Entra has a lasting fault: open a support request with the correlation ID"},
	}
}
