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
// It knows what the reference lists for token requests with client credentials; what
// only users meet is left out. The advice fits any issuer's token; (*Error).Advice
// knows whose was presented. Source:
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes and
// public issue threads; the classes are this project's judgement.
func Explain(code int) Explanation {
	switch code {
	case 70021:
		return Explanation{Replication, "no federated identity credential matches the token: compare its issuer, subject and audience with the credential's, character by character; a new credential needs some minutes to spread"}
	case 700211:
		return Explanation{Replication, "no federated identity credential has this issuer: compare it with the token's, trailing slash included; a new credential needs some minutes to spread"}
	case 700212:
		return Explanation{Replication, "no federated identity credential has this audience: set it to the token's audience, usually api://AzureADTokenExchange"}
	case 700213:
		return Explanation{Replication, "no federated identity credential has this subject: create one with exactly the token's subject; a new credential needs some minutes to spread"}
	case 70025:
		return Explanation{Replication, "the identity has no federated identity credential at all: create one with the token's issuer and subject"}
	case 7002138:
		return Explanation{Permanent, "the credential's subject differs from the token's in upper and lower case only: write it exactly as the token has it"}
	case 7002131:
		return Explanation{Permanent, "no expression of a flexible federated credential matches this subject: correct claimsMatchingExpression"}
	case 700233, 700234, 700235, 700237, 7002241:
		return Explanation{Permanent, "the expression of the flexible federated credential is not valid or not allowed for this issuer: use a credential with an exact subject"}
	case 70023:
		return Explanation{Permanent, "the token lives longer than 25 hours: have its issuer give it at most 24"}
	case 70052:
		return Explanation{Permanent, "this kind of identity can't be federated: use a managed identity or a single-tenant application"}
	case 700223, 700227, 700236, 700238, 7000226:
		return Explanation{Permanent, "a policy of the tenant or the application does not allow this federation: ask the tenant's administrator to allow the issuer"}
	case 700214:
		return Explanation{Permanent, "a token issued by Entra needs a credential with its own audience: set the credential's audience to api://AzureADTokenExchange, or to this cloud's name for it"}
	case 700231:
		return Explanation{Permanent, "a token got by a federated credential can't stand for another identity: federate that identity with the first token's issuer directly, and present the first token to it"}
	case 700222, 700226, 700229:
		return Explanation{Permanent, "a token issued by Entra can't be used here: only a managed identity's, from the machine that has it, stands for another identity, and for an application only"}

	case 700016, 700011:
		return Explanation{Permanent, "the client ID is not known in this tenant: check client ID and tenant ID"}
	case 70001, 7000112, 1000031:
		return Explanation{Permanent, "the application is disabled in this tenant: ask its administrator to enable the enterprise application"}
	case 7000229:
		return Explanation{Permanent, "the application has no service principal in this tenant: create one with az ad sp create --id and the client ID"}
	case 700025:
		return Explanation{Permanent, "the application is a public client, which signs in without a credential: turn off \"Allow public client flows\" in its registration"}
	case 50105, 501051:
		return Explanation{Permanent, "the identity is not assigned to the application it asks for: assign it one of that application's roles, or turn off \"Assignment required\" there"}

	case 700024, 50013, 500133:
		return Explanation{Permanent, "the token has expired or is not valid yet: read the token again for every exchange, and check the clock"}
	case 700027, 50006, 50012, 700030, 900384:
		return Explanation{Permanent, "the token's signature can't be verified: the issuer must publish the key it signs with in its JWKS, and sign with RS256; if a client certificate signed, upload that certificate"}
	case 7000272:
		return Explanation{Permanent, "the key that signed the token is not in the issuer's JWKS: publish its current keys"}
	case 5002730, 5002738:
		return Explanation{Permanent, "the token is signed with an algorithm that Entra does not accept: it takes RSA keys only"}
	case 50032:
		return Explanation{Permanent, "the RSA key is too weak: sign with a key of at least 2048 bits"}
	case 50027:
		return Explanation{Permanent, "the assertion is not a valid JWT: the token file is damaged, empty or something else"}
	case 50048:
		return Explanation{Permanent, "issuer and subject of the client assertion must both be the client ID"}
	case 90016:
		return Explanation{Permanent, "the assertion lacks a required claim: present the token as it was issued"}
	case 700023, 500131, 50010:
		return Explanation{Permanent, "the assertion is meant for another audience: check the token's audience, the tenant and AZURE_AUTHORITY_HOST"}
	case 50166, 501661, 90061:
		return Explanation{Transient, "Entra could not fetch the issuer's discovery document or keys: both must be public, over https, with a well-known certificate"}
	case 900612:
		return Explanation{Permanent, "the issuer's JWKS can't be parsed: publish a JSON Web Key Set of RSA keys"}

	case 90002, 50059, 50128, 90019:
		return Explanation{Permanent, "the tenant is not known in this cloud: check AZURE_TENANT_ID and AZURE_AUTHORITY_HOST"}
	case 50049, 50050, 90051:
		return Explanation{Permanent, "the authority is not known: check AZURE_AUTHORITY_HOST"}
	case 90038, 90043, 900382, 900432, 1000104:
		return Explanation{Permanent, "the tenant or the resource belongs to another cloud: check AZURE_AUTHORITY_HOST, or --azure-env, and the resource"}
	case 50194, 90124, 90130, 9001023, 9002332:
		return Explanation{Permanent, "the common endpoints do not serve this application: ask at the tenant's own, by its ID in AZURE_TENANT_ID"}
	case 50002, 500021, 500022:
		return Explanation{Permanent, "tenant restrictions of the network block this tenant: ask the administrator of the network's proxy to allow it"}
	case 500212, 500213:
		return Explanation{Permanent, "a cross-tenant access policy blocks this tenant: ask the tenant's administrator"}
	case 53003, 530003, 530032, 530035, 50131:
		return Explanation{Permanent, "a Conditional Access policy blocks this workload identity: ask its administrator"}

	case 500011, 50001, 650052, 650054:
		return Explanation{Permanent, "the resource is not known or not enabled in this tenant: check its spelling, or consent to the application in this tenant"}
	case 65001, 65005, 650056, 650057, 90008, 90094:
		return Explanation{Permanent, "the application lacks consent for this resource: ask an administrator to grant it the permission"}
	case 90009:
		return Explanation{Permanent, "an application that asks for a token for itself must name itself by its client ID"}
	case 50003, 50146, 501461:
		return Explanation{Permanent, "the resource's application lacks the signing key that its claims need: ask its owner to configure one"}
	case 70011, 1002012, 28002, 28003:
		return Explanation{Permanent, "the scope must be a resource followed by /.default"}
	case 700022:
		return Explanation{Permanent, "the scope names several resources: ask for one at a time"}
	case 901002:
		return Explanation{Permanent, "this endpoint takes scope, not resource: use /oauth2/token for resource"}
	case 70003:
		return Explanation{Permanent, "the grant type is not supported: workload identity uses client_credentials"}
	case 7000114:
		return Explanation{Permanent, "the application may not make on-behalf-of requests: use client_credentials"}
	case 100007:
		return Explanation{Permanent, "the regional endpoint does not serve this identity: unset AZURE_REGIONAL_AUTHORITY_NAME"}

	case 70002, 7000215, 7000222:
		return Explanation{Permanent, "the client secret is wrong or has expired: use the secret's value, not its ID"}
	case 7000216, 7000218, 900144, 90014:
		return Explanation{Permanent, "the request lacks a required parameter"}
	case 50029, 90004, 90010, 90013, 90015, 90023, 90056, 900561, 90100, 90102, 90117, 90121, 9002313, 165900:
		return Explanation{Permanent, "Entra does not understand the request: check client ID, tenant and resource for stray characters"}

	case 90055, 50196:
		return Explanation{Transient, "Entra throttles these requests: wait as Retry-After says, and keep tokens until shortly before they expire"}
	case 50000, 50033, 90006, 90012, 90024, 90033, 90090, 90091:
		return Explanation{Transient, "Entra has a passing fault: try again"}
	case 90036, 90092:
		return Explanation{Permanent, "Entra has a fault that does not pass by itself: open a support request with the correlation ID"}
	}
	return Explanation{Class: Permanent}
}
