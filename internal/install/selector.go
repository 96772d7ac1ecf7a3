package install

import (
	"context"
	"fmt"
	"maps"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"azwi/internal/finding"
	"azwi/internal/kube"
)

const serviceName = "azure-wi-webhook-webhook-service"

// A selection is how a Deployment and what goes with it select the webhook's pods.
type selection struct {
	deployment map[string]any // a label selector
	service    map[string]any // labels
	pods       map[string]any // labels that both take
}

// Select returns a chart's objects with these labels in the place of those by which
// the chart selects the webhook's pods.
func Select(objects []Object, podLabels map[string]any) ([]Object, error) {
	return selection{map[string]any{"matchLabels": podLabels}, podLabels, podLabels}.apply(objects)
}

// selection reads how the Deployment and the Service that are there select pods; it
// is nil without a Deployment. A Deployment's selector can't be changed, and the
// Service must select the former pods and the new ones alike.
func (c *cluster) selection(ctx context.Context, namespace string) (*selection, error) {
	deployment, err := c.find(ctx, deploymentRef(namespace))
	if err != nil || deployment == nil {
		return nil, err
	}
	service, err := c.find(ctx, kube.Ref{APIVersion: "v1", Kind: "Service", Namespace: namespace, Name: serviceName})
	if err != nil {
		return nil, err
	}
	s := selection{pods: map[string]any{}}
	s.deployment, _ = lookup(map[string]any(deployment), "spec", "selector").(map[string]any)
	if len(s.deployment) == 0 {
		return nil, nil
	}
	have, _ := lookup(map[string]any(deployment), "spec", "template", "metadata", "labels").(map[string]any)
	matchLabels, _ := s.deployment["matchLabels"].(map[string]any)
	maps.Copy(s.pods, matchLabels)
	expressions, _ := s.deployment["matchExpressions"].([]any)
	for _, e := range expressions {
		key, _ := lookup(e, "key").(string)
		if value, ok := have[key]; ok {
			s.pods[key] = value
		}
	}
	s.service = maps.Clone(s.pods)
	selected, _ := lookup(map[string]any(service), "spec", "selector").(map[string]any)
	if len(selected) > 0 && contains(have, selected) {
		s.service = selected
		maps.Copy(s.pods, selected)
	}
	if len(s.service) == 0 {
		return nil, finding.SelectorWithoutLabel(namespace + "/" + deploymentName).Err(nil)
	}
	return &s, nil
}

// contains reports whether all has every member of some.
func contains(all, some map[string]any) bool {
	for key, value := range some {
		if all[key] != value {
			return false
		}
	}
	return true
}

// apply returns the objects with this selection in the place of the chart's.
func (s selection) apply(objects []Object) ([]Object, error) {
	var charts map[string]any
	for _, o := range objects {
		if o.Kind() == "Deployment" {
			charts, _ = lookup(map[string]any(o), "spec", "selector", "matchLabels").(map[string]any)
		}
	}
	same := reflect.DeepEqual(s.deployment, map[string]any{"matchLabels": charts}) && reflect.DeepEqual(s.service, charts)
	if charts == nil || same {
		return objects, nil
	}
	selected := make([]Object, len(objects))
	for i, o := range objects {
		switch o.Kind() {
		case "PodDisruptionBudget", "NetworkPolicy", "PodMonitor":
			o, _ = replaced(map[string]any(o), charts, s.pods).(map[string]any)
		case "Service":
			o = with(o, s.service, "spec", "selector")
		case "Deployment":
			o, _ = replaced(map[string]any(o), charts, s.pods).(map[string]any)
			have, _ := lookup(map[string]any(o), "spec", "template", "metadata", "labels").(map[string]any)
			o = with(o, Merge(have, s.pods), "spec", "template", "metadata", "labels")
			o = with(o, s.deployment, "spec", "selector")
			if err := selectsItself(o); err != nil {
				return nil, err
			}
		}
		selected[i] = o
	}
	return selected, nil
}

// replaced returns v with other labels wherever matchLabels are just these.
func replaced(v any, these, by map[string]any) any {
	switch v := v.(type) {
	case map[string]any:
		copied := make(map[string]any, len(v))
		for key, member := range v {
			if key == "matchLabels" && reflect.DeepEqual(member, these) {
				copied[key] = by
				continue
			}
			copied[key] = replaced(member, these, by)
		}
		return copied
	case []any:
		copied := make([]any, len(v))
		for i, member := range v {
			copied[i] = replaced(member, these, by)
		}
		return copied
	}
	return v
}

// selectsItself checks that a Deployment selects the pods of its template.
func selectsItself(deployment Object) error {
	var d struct {
		Spec struct {
			Selector *metav1.LabelSelector
			Template struct {
				Metadata struct{ Labels map[string]string }
			}
		}
	}
	if err := convert(deployment, &d); err != nil {
		return err
	}
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return fmt.Errorf("the selector of %s: %w", deployment.Ref(), err)
	}
	if !selector.Matches(labels.Set(d.Spec.Template.Metadata.Labels)) {
		return finding.SelectorFixed(deployment.Ref(), selector).Err(nil)
	}
	return nil
}
