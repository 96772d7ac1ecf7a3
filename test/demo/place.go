package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.yaml.in/yaml/v3"

	"azwi/contract"
	"azwi/test/cluster"
	"azwi/test/product"
)

// A place is where the demo's pods are: in a manifest alone, or on an API server.
type place interface {
	// issuer signs the service accounts' tokens; keys says in the form of the emulator's
	// seed where its public keys are.
	issuer() (url, keys string)
	// create creates objects in the namespace, the pod last, and returns the injected pod.
	create(ctx context.Context, objects []object) (pod, error)
	// token is what the kubelet projects into a volume of the pod.
	token(ctx context.Context, p pod, volume projectedToken) (string, error)
}

// manifests have an issuer of their own, and no API server.
type manifests struct {
	azwi, dir, authority string
	key                  *rsa.PrivateKey
}

const manifestIssuer = "https://issuer.example/shop"

// newManifests makes the issuer's key, and a file of its public half.
func newManifests(azwi, dir string) (*manifests, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "demo", Algorithm: string(jose.RS256), Use: "sig"}}})
	if err != nil {
		return nil, err
	}
	return &manifests{azwi: azwi, dir: dir, key: key}, os.WriteFile(filepath.Join(dir, "jwks.json"), jwks, 0o600)
}

func (m *manifests) issuer() (url, keys string) {
	return manifestIssuer, fmt.Sprintf("{file: %q}", filepath.Join(m.dir, "jwks.json"))
}

// create injects by azwi inject what would be applied.
func (m *manifests) create(ctx context.Context, objects []object) (p pod, err error) {
	var input bytes.Buffer
	encoder := yaml.NewEncoder(&input)
	for _, o := range objects {
		if err := encoder.Encode(o); err != nil {
			return p, err
		}
	}
	cmd := exec.CommandContext(ctx, m.azwi, "inject", "-n", namespace, "-f", "-")
	cmd.Env = append(os.Environ(), contract.EnvTenantID+"="+product.TenantID, contract.EnvAuthorityHost+"="+m.authority)
	cmd.Stdin = &input
	out, err := cmd.Output()
	if err != nil {
		if failed, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("azwi inject: %w\n%s", err, failed.Stderr)
		}
		return p, err
	}
	var last object
	for decoder := yaml.NewDecoder(bytes.NewReader(out)); ; {
		var next object
		if err := decoder.Decode(&next); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return p, err
		}
		last = next
	}
	raw, err := json.Marshal(last)
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(raw, &p)
}

// token signs as an API server does.
func (m *manifests) token(_ context.Context, p pod, volume projectedToken) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: m.key, KeyID: "demo"}}, nil)
	if err != nil {
		return "", err
	}
	now := time.Now().Unix()
	claims, err := json.Marshal(object{
		"iss": manifestIssuer, "sub": contract.Subject(namespace, p.Spec.ServiceAccountName), "aud": []string{volume.Audience},
		"iat": now, "nbf": now, "exp": now + volume.ExpirationSeconds,
	})
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// apiServer is a real one, which calls the webhook.
type apiServer struct{ *cluster.Cluster }

func (a apiServer) issuer() (url, keys string) {
	return a.Issuer, fmt.Sprintf("{url: %q, caFile: %q}", a.Issuer+"/openid/v1/jwks", a.CAFile)
}

func (a apiServer) create(ctx context.Context, objects []object) (p pod, err error) {
	collections := map[any]string{"ServiceAccount": "serviceaccounts", "ConfigMap": "configmaps", "Pod": "pods"}
	for _, o := range objects {
		var created json.RawMessage
		if _, err := a.Admin.Do(ctx, http.MethodPost, "/api/v1/namespaces/"+namespace+"/"+collections[o["kind"]], o, &created); err != nil {
			return p, err
		}
		if o["kind"] == "Pod" {
			err = json.Unmarshal(created, &p)
		}
	}
	return p, err
}

// token asks for exactly that volume's audience and expiry, bound to the pod.
func (a apiServer) token(ctx context.Context, p pod, volume projectedToken) (string, error) {
	var answer struct{ Status struct{ Token string } }
	_, err := a.Admin.Do(ctx, http.MethodPost, "/api/v1/namespaces/"+namespace+"/serviceaccounts/"+p.Spec.ServiceAccountName+"/token", object{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"spec": object{
			"audiences": []string{volume.Audience}, "expirationSeconds": volume.ExpirationSeconds,
			"boundObjectRef": object{"apiVersion": "v1", "kind": "Pod", "name": p.Metadata.Name, "uid": p.Metadata.UID},
		},
	}, &answer)
	return answer.Status.Token, err
}
