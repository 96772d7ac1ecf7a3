package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/pod/inject"
)

// What stands for a pod's own values in the samples.
const (
	holeClient    = "@client@"
	holeTenant    = "@tenant@"
	holeNamespace = "@namespace@"
	holeAccount   = "@account@"
	holeValue     = "@value@"
	holeName      = "@name@"
	holeCA        = "@ca@"
	sampleSeconds = "86399" // an expiration that nobody writes into settings
	samplePort    = "65529" // likewise
	sampleGUID    = "00000000-0000-0000-0000-000000000000"
)

// A sampler asks package inject what it does with a sample pod.
type sampler struct {
	settings inject.Settings
}

// newSampler fails if the settings contain what stands for a pod's own values.
func newSampler(s inject.Settings) (sampler, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return sampler{}, err
	}
	for _, hole := range []string{holeClient, holeTenant, holeNamespace, holeAccount, holeValue, holeName, holeCA, sampleSeconds, samplePort} {
		if bytes.Contains(raw, []byte(hole)) {
			return sampler{}, fmt.Errorf("the settings contain %s, which the generator uses as a mark: write it another way", hole)
		}
	}
	return sampler{s}, nil
}

// samplePod is the pod's part of a sample; annotations without the prefix.
type samplePod struct {
	annotations map[string]string
	account     map[string]string // annotations
	spec        map[string]any    // beside the container app
}

func (s sampler) inject(p samplePod) (inject.Result, error) {
	spec := map[string]any{"serviceAccountName": holeAccount, "containers": []any{map[string]any{"name": "app"}}}
	maps.Copy(spec, p.spec)
	raw, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"labels": map[string]string{contract.UseLabel: contract.UseLabelValue}, "annotations": p.annotations},
		"spec":     spec,
	})
	if err != nil {
		return inject.Result{}, err
	}
	pod, err := inject.Parse(raw)
	if err != nil {
		return inject.Result{}, err
	}
	return pod.Inject(inject.Account{Namespace: holeNamespace, Name: holeAccount, Annotations: p.account}, s.settings), nil
}

// added is what was added to a sample, in JSON.
type added struct {
	env        []any          // of the container app
	volumes    map[string]any // by name
	containers map[string]any // the proxy's, by name
}

// add returns what the sample pod gets, its expiration and port being marks.
func (s sampler) add(annotations map[string]string, spec map[string]any) (added, error) {
	a := map[string]string{contract.TokenExpirationAnnotation: sampleSeconds, contract.ProxyPortAnnotation: samplePort}
	maps.Copy(a, annotations)
	result, err := s.inject(samplePod{annotations: a, spec: spec, account: map[string]string{
		contract.ClientIDAnnotation: holeClient, contract.TenantIDAnnotation: holeTenant,
	}})
	if err != nil {
		return added{}, err
	}
	if result.Denial != nil {
		return added{}, errors.New(result.Denial.Text())
	}
	got := added{volumes: map[string]any{}, containers: map[string]any{}}
	for _, op := range result.Patch {
		items, err := generic(op.Value)
		if err != nil {
			return added{}, err
		}
		switch {
		case op.Path == "/spec/containers/0/env":
			got.env = items
		case op.Path == "/spec/containers/0/volumeMounts", strings.HasPrefix(op.Path, "/metadata/annotations/"):
		case strings.HasPrefix(op.Path, "/spec/volumes"):
			err = byName(got.volumes, items)
		case strings.HasPrefix(op.Path, "/spec/initContainers"), op.Path == "/spec/containers/0":
			err = byName(got.containers, items)
		default:
			err = fmt.Errorf("operation on %s is unknown to the generator", op.Path)
		}
		if err != nil {
			return added{}, err
		}
	}
	return got, nil
}

// generic turns a value of a patch into a list of plain JSON.
func generic(v any) ([]any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var out any
	if err := d.Decode(&out); err != nil {
		return nil, err
	}
	if items, ok := out.([]any); ok {
		return items, nil
	}
	return []any{out}, nil
}

func byName(to map[string]any, items []any) error {
	for _, item := range items {
		name := nameOf(item)
		if name == "" {
			return fmt.Errorf("%v has no name", item)
		}
		to[name] = item
	}
	return nil
}

func nameOf(item any) string {
	m, _ := item.(map[string]any)
	name, _ := m["name"].(string)
	return name
}

// denial returns the text with which the sample is denied, for the given reason.
func (s sampler) denial(reason finding.Code, p samplePod) (string, error) {
	result, err := s.inject(p)
	if err != nil {
		return "", err
	}
	if result.Denial == nil || result.Denial.Code() != reason {
		return "", fmt.Errorf("the sample of denial %s gives %+v", string(reason), result.Denial)
	}
	return result.Denial.Text(), nil
}

// warning returns the text of the first warning of that reason.
func (s sampler) warning(reason finding.Code, p samplePod) (string, error) {
	result, err := s.inject(p)
	if err != nil {
		return "", err
	}
	for _, w := range result.Warnings {
		if w.Code() == reason {
			return w.Text(), nil
		}
	}
	return "", fmt.Errorf("the sample of warning %s gives none: %+v", string(reason), result)
}
