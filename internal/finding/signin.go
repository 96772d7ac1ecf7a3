package finding

import "strings"

// What keeps a caller from signing in to Azure.

const otherSignIn = "set AZURE_CLIENT_ID with AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH or AZURE_FEDERATED_TOKEN_FILE, or give --auth-method"

// AzMissing is a machine without az where nothing else signs in.
func AzMissing() Finding {
	return found(CodeAzMissing, Subject{}, "not signed in to Azure: az is not in PATH: install it (https://aka.ms/azure-cli) and run az login; or %s", otherSignIn)
}

// AzSignedOut is an az without an account.
func AzSignedOut() Finding {
	return found(CodeAzSignedOut, Subject{}, "not signed in to Azure: az has no account: run az login; or %s", otherSignIn)
}

// AzNoToken is an az that gives no token; why is what it says. The tenant may be empty.
func AzNoToken(why, tenant string) Finding {
	const most = 300
	why = strings.Join(strings.Fields(strings.TrimPrefix(why, "AzureCLICredential: ")), " ")
	why, _, _ = strings.Cut(why, " To troubleshoot, visit ")
	if len(why) > most {
		why = strings.ToValidUTF8(why[:most], "") + "..."
	}
	login := "az login"
	if printable(tenant) != "" {
		login += " --tenant " + tenant
	}
	return found(CodeAzSignedOut, Subject{}, "az returned no token: %s; sign in again: %s", strings.TrimSuffix(why, "."), login)
}

// EntraUnreachable is a token endpoint that does not answer.
func EntraUnreachable() Finding {
	return found(CodeAzureUnreachable, Subject{}, "Entra can't be reached: check the network, $HTTPS_PROXY, --azure-env and --authority-host")
}

// AzureUnreachable is a service of Azure that was never reached; host is as the request had
// it, why what the network says.
func AzureUnreachable(host, why string) Finding {
	const most = 300
	why = strings.Join(strings.Fields(why), " ")
	if len(why) > most {
		why = strings.ToValidUTF8(why[:most], "") + "..."
	}
	return found(CodeAzureUnreachable, Subject{}, "%s can't be reached: %s: check the network, $HTTPS_PROXY, $SSL_CERT_FILE, --azure-env and --authority-host", host, why)
}
