package authority

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"azwi/internal/finding"
	"azwi/internal/kube"
)

// fieldManager is who the API server says wrote the fields.
const fieldManager = "azwi-webhook"

// readSecret returns the Secret's version and what it holds.
func (a *Authority) readSecret(ctx context.Context) (version string, m material, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var secret struct {
		Metadata struct{ ResourceVersion string }
		Data     map[string][]byte
	}
	switch err := a.config.API.Get(ctx, a.secret.path(), &secret); {
	case kube.IsNotFound(err):
		return "", material{}, because(finding.SecretMissing(a.config.Namespace+"/"+a.config.Secret), err)
	case kube.IsForbidden(err):
		return "", material{}, because(finding.ObjectNotGranted("get, watch and patch", "Secret "+a.config.Namespace+"/"+a.config.Secret), err)
	case err != nil:
		return "", material{}, err
	}
	return secret.Metadata.ResourceVersion, material{
		caCert: secret.Data[caCertKey], caKey: secret.Data[caKeyKey], cert: secret.Data[certKey], key: secret.Data[keyKey],
	}, nil
}

// writeSecret puts the material into the Secret, if that still has the version, and
// returns its new one. Everything else in the Secret stays.
func (a *Authority) writeSecret(ctx context.Context, version string, m material, reason string) (string, error) {
	version, err := a.write(ctx, a.secret, "application/merge-patch+json", map[string]any{
		"metadata": map[string]any{"resourceVersion": version}, // another one is a conflict
		"data":     map[string][]byte{caCertKey: m.caCert, caKeyKey: m.caKey, certKey: m.cert, keyKey: m.key},
	})
	if err == nil {
		a.config.Logger.Info("own certificate written", "reason", reason, "secret", a.config.Secret)
	}
	return version, err
}

// A configuration is what matters here of a MutatingWebhookConfiguration. A nil one
// can't be seen.
type configuration struct {
	Metadata struct{ ResourceVersion string }
	Webhooks []struct {
		ClientConfig struct{ CABundle []byte }

		changed bool
	}
}

func (a *Authority) readConfiguration(ctx context.Context) (*configuration, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c := &configuration{}
	err := a.config.API.Get(ctx, a.configuration.path(), c)
	if kube.IsNotFound(err) || kube.IsForbidden(err) {
		// Not there yet, or somebody else's business.
		a.config.Logger.Debug("the webhook's configuration can't be seen", "name", a.configuration.name, "error", err)
		return nil, nil
	}
	return c, err
}

func (c *configuration) version() string {
	if c == nil {
		return ""
	}
	return c.Metadata.ResourceVersion
}

// trusted returns the authorities in the configuration.
func (c *configuration) trusted() []*x509.Certificate {
	var all []*x509.Certificate
	if c != nil {
		for _, w := range c.Webhooks {
			all = append(all, certificates(w.ClientConfig.CABundle)...)
		}
	}
	return all
}

// accepts returns nil if a caller who goes by the configuration accepts the
// certificate.
func (c *configuration) accepts(r rules, served *tls.Certificate, now time.Time) error {
	if c == nil {
		return nil
	}
	for _, w := range c.Webhooks {
		if err := r.verify(served, certificates(w.ClientConfig.CABundle), now); err != nil {
			return finding.BundleWrong("the webhook's configuration", err).Err(err)
		}
	}
	return nil
}

// replace puts the bundle where another one is, and reports whether that was so.
func (c *configuration) replace(bundle []byte) bool {
	if c == nil {
		return false
	}
	want, any := certificates(bundle), false
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		if !same(certificates(w.ClientConfig.CABundle), want) {
			w.ClientConfig.CABundle, w.changed, any = bytes.Clone(bundle), true, true
		}
	}
	return any
}

// writeConfiguration writes the bundles that were replaced, and nothing else.
func (a *Authority) writeConfiguration(ctx context.Context, c *configuration) error {
	// A JSON patch, as a merge would replace the whole list of webhooks. The test
	// makes sure that their order is still what was read.
	patch := []map[string]any{{"op": "test", "path": "/metadata/resourceVersion", "value": c.Metadata.ResourceVersion}}
	for i, w := range c.Webhooks {
		if w.changed {
			patch = append(patch, map[string]any{
				"op": "add", "path": fmt.Sprintf("/webhooks/%d/clientConfig/caBundle", i), "value": w.ClientConfig.CABundle,
			})
		}
	}
	version, err := a.write(ctx, a.configuration, "application/json-patch+json", patch)
	if kube.IsForbidden(err) {
		return because(finding.ObjectNotGranted("patch", "MutatingWebhookConfiguration "+a.configuration.name), err)
	}
	if err == nil {
		c.Metadata.ResourceVersion = version
		a.config.Logger.Info("caBundle written", "configuration", a.configuration.name)
	}
	return err
}

// because is an error with what to do about it first.
func because(f finding.Finding, err error) error { return fmt.Errorf("%w: %w", f.Err(nil), err) }

// write patches an object and returns its new version.
func (a *Authority) write(ctx context.Context, o *object, contentType string, patch any) (version string, err error) {
	if !o.writes.Allow() {
		return "", fmt.Errorf("%s %s: %w", o.what, o.name, finding.CertificateContested().Err(nil))
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var written struct {
		Metadata struct{ ResourceVersion string }
	}
	if _, err := a.config.API.Do(ctx, kube.Request{
		Method: http.MethodPatch, Path: o.path(), Manager: fieldManager,
		ContentType: contentType, Body: patch,
	}, &written); err != nil {
		return "", err
	}
	a.config.Wrote(o.what)
	return written.Metadata.ResourceVersion, nil
}
