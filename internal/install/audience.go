package install

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"azwi/contract"
	"azwi/internal/kube"
)

// Audience returns the audience of the tokens that pods of this cluster get for Entra: what the
// installed webhook or policy was set to, whoever installed it, else
// contract.DefaultAudience. A caller who may not read the installation gets the default.
func Audience(ctx context.Context, client *kube.Client) (string, error) {
	namespace := contract.SystemNamespace
	var webhook struct {
		Webhooks []struct {
			ClientConfig struct{ Service struct{ Namespace string } }
		}
	}
	if err := readable(client.Read(ctx, webhookConfigurationRef(contract.WebhookConfiguration), &webhook)); err != nil {
		return "", err
	}
	if len(webhook.Webhooks) > 0 && webhook.Webhooks[0].ClientConfig.Service.Namespace != "" {
		namespace = webhook.Webhooks[0].ClientConfig.Service.Namespace
	}
	var deployment struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct{ Command, Args []string }
				}
			}
		}
	}
	if err := readable(client.Read(ctx, deploymentRef(namespace), &deployment)); err != nil {
		return "", err
	}
	for _, c := range deployment.Spec.Template.Spec.Containers {
		if audience := flagValue(append(c.Command, c.Args...), "audience"); audience != "" {
			return audience, nil
		}
	}
	var policy struct {
		Spec struct {
			Variables []struct{ Expression string }
			Mutations []struct {
				JSONPatch struct{ Expression string }
			}
		}
	}
	if err := readable(client.Read(ctx, mutatingPolicyRef(), &policy)); err != nil {
		return "", err
	}
	var expressions []string
	for _, v := range policy.Spec.Variables {
		expressions = append(expressions, v.Expression)
	}
	for _, m := range policy.Spec.Mutations {
		expressions = append(expressions, m.JSONPatch.Expression)
	}
	if found := policyAudience().FindStringSubmatch(strings.Join(expressions, "\n")); found != nil {
		return found[1], nil
	}
	return contract.DefaultAudience, nil
}

// policyAudience finds the audience in the expression that adds the token's volume; that
// of the custom token endpoint comes later.
func policyAudience() *regexp.Regexp {
	return regexp.MustCompile(`"audience": dyn\("([^"\\]+)"\)`)
}

// readable passes errors on, but for those that say that there is nothing to be read.
func readable(err error) error {
	if status, ok := errors.AsType[*kube.StatusError](err); ok {
		switch status.Code {
		case http.StatusNotFound, http.StatusForbidden, http.StatusUnauthorized:
			return nil
		}
	}
	return err
}

// flagValue is the value of a flag in a command's arguments, in each form that package flag
// takes.
func flagValue(args []string, name string) string {
	for i, arg := range args {
		text := strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
		if text == arg {
			continue
		}
		if value, ok := strings.CutPrefix(text, name+"="); ok {
			return value
		}
		if text == name && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}
