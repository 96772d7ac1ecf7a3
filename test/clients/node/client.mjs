// An application that uses Azure's JavaScript SDK or MSAL: node client.mjs
// CREDENTIAL VAULT [direct]. It prints the secret that it read as JSON.
import { readFileSync } from "node:fs";
import {
  ClientCertificateCredential,
  ClientSecretCredential,
  ManagedIdentityCredential,
  WorkloadIdentityCredential,
} from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";
import { ConfidentialClientApplication } from "@azure/msal-node";

const [kind, vault, way] = process.argv.slice(2);
const direct = way === "direct";
const env = process.env;
const options = { disableInstanceDiscovery: direct };

// msal wraps a client of MSAL as a credential of the SDK.
function msal(auth) {
  const authority = (env.AZURE_AUTHORITY_HOST ?? "https://login.microsoftonline.com/") + env.AZURE_TENANT_ID;
  const app = new ConfidentialClientApplication({
    auth: {
      clientId: env.AZURE_CLIENT_ID,
      authority,
      knownAuthorities: direct ? [new URL(authority).host] : [],
      ...auth,
    },
  });
  return {
    async getToken(scopes) {
      const result = await app.acquireTokenByClientCredential({ scopes: [scopes].flat() });
      return { token: result.accessToken, expiresOnTimestamp: result.expiresOn.getTime() };
    },
  };
}

const credentials = {
  workload: () => new WorkloadIdentityCredential(options),
  secret: () => new ClientSecretCredential(env.AZURE_TENANT_ID, env.AZURE_CLIENT_ID, env.AZURE_CLIENT_SECRET, options),
  certificate: () =>
    new ClientCertificateCredential(env.AZURE_TENANT_ID, env.AZURE_CLIENT_ID, { certificatePath: env.CERTIFICATE }, options),
  managed: () => new ManagedIdentityCredential({ clientId: env.AZURE_CLIENT_ID }),
  "msal-secret": () => msal({ clientSecret: env.AZURE_CLIENT_SECRET }),
  "msal-assertion": () => msal({ clientAssertion: readFileSync(env.AZURE_FEDERATED_TOKEN_FILE, "utf8") }),
};

const client = new SecretClient(vault, credentials[kind](), { disableChallengeResourceVerification: direct });
const secret = (await client.getSecret("greeting")).value;
let secrets = 0;
for await (const _ of client.listPropertiesOfSecrets()) secrets++;
console.log(JSON.stringify({ secret, secrets }));
