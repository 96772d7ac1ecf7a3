package inject

import (
	"errors"
	"fmt"
	"slices"

	sigsjson "sigs.k8s.io/json"

	"azwi/contract"
)

// A Pod is the part of a pod that injection looks at. Everything else stays in
// the raw JSON, which is patched and never written anew.
type Pod struct {
	metadata    podMetadata
	spec        podSpec
	volumeNames []string
}

type podMetadata struct {
	Name         string            `json:"name"`
	GenerateName string            `json:"generateName"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
}

type podSpec struct {
	ServiceAccountName string            `json:"serviceAccountName"`
	HostNetwork        bool              `json:"hostNetwork"`
	RestartPolicy      string            `json:"restartPolicy"`
	OS                 podOS             `json:"os"`
	NodeSelector       map[string]string `json:"nodeSelector"`
	Affinity           affinity          `json:"affinity"`
	Tolerations        []toleration      `json:"tolerations"`
	Resources          podResources      `json:"resources"`
	SecurityContext    securityContext   `json:"securityContext"`
	Volumes            []rawJSON         `json:"volumes"`
	InitContainers     []*podContainer   `json:"initContainers"`
	Containers         []*podContainer   `json:"containers"`
}

type podOS struct {
	Name string `json:"name"`
}

type affinity struct {
	NodeAffinity struct {
		Required struct {
			Terms []struct {
				Expressions []nodeRequirement `json:"matchExpressions"`
			} `json:"nodeSelectorTerms"`
		} `json:"requiredDuringSchedulingIgnoredDuringExecution"`
	} `json:"nodeAffinity"`
}

type nodeRequirement struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Values   []string `json:"values"`
}

type toleration struct {
	Key string `json:"key"`
}

// podResources are the quantities of the whole pod, which may be text or numbers.
type podResources struct {
	Requests map[string]rawJSON `json:"requests"`
	Limits   map[string]rawJSON `json:"limits"`
}

type podContainer struct {
	Name            string          `json:"name"`
	SecurityContext securityContext `json:"securityContext"`
	Env             []podEnv        `json:"env"`
	Ports           []podPort       `json:"ports"`
	VolumeMounts    []volumeMount   `json:"volumeMounts"`
}

// rawJSON is a part of the JSON it was decoded from, not a copy as json.RawMessage is.
type rawJSON []byte

func (r *rawJSON) UnmarshalJSON(data []byte) error {
	*r = data
	return nil
}

type podEnv struct {
	Name      string    `json:"name"`
	Value     string    `json:"value"`
	ValueFrom *struct{} `json:"valueFrom"`
}

type podPort struct {
	ContainerPort int64  `json:"containerPort"`
	Protocol      string `json:"protocol"`
}

type securityContext struct {
	RunAsUser *int64 `json:"runAsUser"`
}

// ErrNoAccount is that there is no such service account.
var ErrNoAccount = errors.New("service account not found")

// An Account is what injection needs of a service account.
type Account struct {
	Namespace   string
	Name        string
	Labels      map[string]string
	Annotations map[string]string
}

// Parse reads a pod in JSON. Member names are case-sensitive as they are for the
// API server, and members it does not know are passed over. The error tells what
// in the pod has the wrong type, or is a LimitError. The pod refers to raw, which must not
// change.
func Parse(raw []byte) (*Pod, error) {
	if err := Measure(raw).check(); err != nil {
		return nil, fmt.Errorf("pod: %w", err)
	}
	var top struct {
		Metadata podMetadata `json:"metadata"`
		Spec     *podSpec    `json:"spec"`
	}
	if err := sigsjson.UnmarshalCaseSensitivePreserveInts(raw, &top); err != nil {
		return nil, fmt.Errorf("pod: %w", cut(err))
	}
	if top.Spec == nil {
		return nil, errors.New("pod: no spec")
	}
	p := Pod{metadata: top.Metadata, spec: *top.Spec}
	if slices.Contains(p.spec.InitContainers, nil) || slices.Contains(p.spec.Containers, nil) {
		return nil, errors.New("pod: spec: a container is null")
	}
	p.volumeNames = make([]string, len(p.spec.Volumes))
	for i, v := range p.spec.Volumes {
		var named *struct {
			Name string `json:"name"`
		}
		if err := sigsjson.UnmarshalCaseSensitivePreserveInts(v, &named); err != nil {
			return nil, fmt.Errorf("pod: spec.volumes[%d]: %w", i, cut(err))
		}
		if named == nil {
			return nil, fmt.Errorf("pod: spec.volumes[%d] is null", i)
		}
		p.volumeNames[i] = named.Name
	}
	if err := p.checkParsed(); err != nil {
		return nil, fmt.Errorf("pod: %w", err)
	}
	return &p, nil
}

// OptedIn reports whether the pod asks for workload identity. Mirror pods are
// never changed: the kubelet would not recognise them.
func (p *Pod) OptedIn() bool {
	if _, mirror := p.metadata.Annotations[contract.MirrorPodAnnotation]; mirror {
		return false
	}
	return p.metadata.Labels[contract.UseLabel] == contract.UseLabelValue
}

// Name is the pod's name, or what the API server will make it from followed by a
// star. Both are unverified at admission.
func (p *Pod) Name() string {
	if p.metadata.Name == "" && p.metadata.GenerateName != "" {
		return p.metadata.GenerateName + "*"
	}
	return p.metadata.Name
}

// ServiceAccountName is the pod's service account, by default "default".
func (p *Pod) ServiceAccountName() string {
	if p.spec.ServiceAccountName == "" {
		return "default"
	}
	return p.spec.ServiceAccountName
}

// onWindows reports whether the pod can only run on Windows: by its own word or by
// where it may be scheduled.
func (p *Pod) onWindows() bool {
	if p.spec.OS.Name == windows || p.spec.NodeSelector[nodeOSLabel] == windows {
		return true
	}
	terms := p.spec.Affinity.NodeAffinity.Required.Terms
	for _, term := range terms { // one of them suffices
		if !slices.ContainsFunc(term.Expressions, func(r nodeRequirement) bool {
			return r.Key == nodeOSLabel && r.Operator == "In" && len(r.Values) == 1 && r.Values[0] == windows
		}) {
			return false
		}
	}
	return len(terms) > 0
}

const (
	nodeOSLabel = "kubernetes.io/os" // Kubernetes' own label of nodes
	windows     = "windows"
)

// hasResources reports whether requests or limits are set for the pod as a whole.
func (p *Pod) hasResources() bool {
	return len(p.spec.Resources.Requests)+len(p.spec.Resources.Limits) > 0
}

// containers calls f for the init containers, then the containers; list is the
// name of the member they are in.
func (p *Pod) containers(f func(list string, index int, c podContainer)) {
	for i, c := range p.spec.InitContainers {
		f("initContainers", i, *c)
	}
	for i, c := range p.spec.Containers {
		f("containers", i, *c)
	}
}

func (p *Pod) hasContainer(name string) bool {
	found := false
	p.containers(func(_ string, _ int, c podContainer) { found = found || c.Name == name })
	return found
}

// skipped are the containers that the pod's author wants left untouched.
func (p *Pod) skipped() map[string]bool {
	skip := map[string]bool{}
	for _, name := range list(p.metadata.Annotations[contract.SkipContainersAnnotation]) {
		skip[name] = true
	}
	return skip
}
