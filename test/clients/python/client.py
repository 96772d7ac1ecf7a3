"""An application that uses Azure's Python SDK or MSAL.

client.py CREDENTIAL VAULT [direct] prints the secret that it read as JSON.
"""

import collections
import json
import os
import sys

import msal
from azure.identity import CertificateCredential, ClientSecretCredential, ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient

env = os.environ
kind, vault = sys.argv[1:3]
direct = sys.argv[3:] == ["direct"]
# Later versions of the SDK call it disable_instance_discovery.
options = {"instance_discovery": False} if direct else {}


class MSAL:
    """A client of MSAL as a credential of the SDK."""

    def __init__(self, credential):
        authority = env.get("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/")
        # MSAL asks login.microsoftonline.com about hosts that it does not know.
        self.app = msal.ConfidentialClientApplication(
            env["AZURE_CLIENT_ID"],
            client_credential=credential,
            authority=authority + env["AZURE_TENANT_ID"],
            validate_authority=not direct,
        )

    def get_token(self, *scopes, **_):
        answer = self.app.acquire_token_for_client(list(scopes))
        if "access_token" not in answer:
            raise SystemExit(json.dumps(answer))
        Token = collections.namedtuple("Token", "token expires_on")
        return Token(answer["access_token"], 2**31)


def assertion():
    with open(env["AZURE_FEDERATED_TOKEN_FILE"]) as f:
        return {"client_assertion": f.read()}


credential = {
    # This version exchanges in ManagedIdentityCredential, if the environment of
    # workload identity is there; else it asks the metadata service.
    "workload": lambda: ManagedIdentityCredential(client_id=env["AZURE_CLIENT_ID"]),
    "managed": lambda: ManagedIdentityCredential(client_id=env["AZURE_CLIENT_ID"]),
    "secret": lambda: ClientSecretCredential(env["AZURE_TENANT_ID"], env["AZURE_CLIENT_ID"], env["AZURE_CLIENT_SECRET"], **options),
    "certificate": lambda: CertificateCredential(env["AZURE_TENANT_ID"], env["AZURE_CLIENT_ID"], env["CERTIFICATE"], **options),
    "msal-secret": lambda: MSAL(env["AZURE_CLIENT_SECRET"]),
    "msal-assertion": lambda: MSAL(assertion()),
}[kind]()

client = SecretClient(vault, credential, verify_challenge_resource=not direct)
secret = client.get_secret("greeting").value
secrets = len(list(client.list_properties_of_secrets()))
print(json.dumps({"secret": secret, "secrets": secrets}))
