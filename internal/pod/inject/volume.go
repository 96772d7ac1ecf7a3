package inject

import (
	"bytes"
	"encoding/json"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"azwi/contract"
)

// The shapes below are written as Kubernetes' v1 API has them. They hold only
// what we write ourselves.

type envVar struct {
	Name      string     `json:"name"`
	Value     string     `json:"value,omitempty"`
	ValueFrom *valueFrom `json:"valueFrom,omitempty"`
}

type valueFrom struct {
	FieldRef struct {
		APIVersion string `json:"apiVersion"`
		FieldPath  string `json:"fieldPath"`
	} `json:"fieldRef"`
}

type volumeMount struct {
	Name      string `json:"name"`
	MountPath string `json:"mountPath"`
	ReadOnly  bool   `json:"readOnly,omitempty"`
}

type volume struct {
	Name        string           `json:"name"`
	Projected   *projected       `json:"projected,omitempty"`
	DownwardAPI *downwardAPI     `json:"downwardAPI,omitempty"`
	ConfigMap   *configMapVolume `json:"configMap,omitempty"`
}

type configMapVolume struct {
	DefaultMode int         `json:"defaultMode"`
	Name        string      `json:"name"`
	Items       []keyToPath `json:"items"`
}

type projected struct {
	DefaultMode int                `json:"defaultMode"`
	Sources     []volumeProjection `json:"sources"`
}

type downwardAPI struct {
	DefaultMode int `json:"defaultMode"`
}

type volumeProjection struct {
	ServiceAccountToken *tokenProjection       `json:"serviceAccountToken,omitempty"`
	ConfigMap           *configMapProjection   `json:"configMap,omitempty"`
	ClusterTrustBundle  *trustBundleProjection `json:"clusterTrustBundle,omitempty"`
}

type tokenProjection struct {
	Audience          string `json:"audience"`
	ExpirationSeconds int64  `json:"expirationSeconds"`
	Path              string `json:"path"`
}

type configMapProjection struct {
	Name     string      `json:"name"`
	Items    []keyToPath `json:"items"`
	Optional bool        `json:"optional"`
}

type keyToPath struct {
	Key  string `json:"key"`
	Path string `json:"path"`
}

type trustBundleProjection struct {
	SignerName    string          `json:"signerName"`
	LabelSelector json.RawMessage `json:"labelSelector,omitempty"`
	Path          string          `json:"path"`
}

// defaultFileMode is the API server's default, written out so that a second look
// at the same volume finds what we wrote.
const defaultFileMode = 0o644

// usesReservedVolume reports whether the pod gets the v1.6.0 layout. A custom
// token endpoint whose CA is a file needs it whatever the layout.
func (in *injection) usesReservedVolume() bool {
	return in.settings.Layout != LayoutV15 || in.custom && in.settings.CustomTokenEndpoint.caIsFile()
}

func (in *injection) usesLegacyVolume() bool { return in.settings.Layout != LayoutV16 }

// volume is the wanted content of a volume of ours.
func (in *injection) volume(name string) volume {
	switch {
	case name == contract.EmptyVolume:
		return emptyVolume()
	case name == contract.LegacyVolume:
		return in.legacyVolume()
	case name == contract.ProxyCAVolume && in.proxyCA() != "":
		return volume{Name: name, ConfigMap: &configMapVolume{DefaultMode: defaultFileMode, Name: in.proxyCA(), Items: []keyToPath{{contract.CAKey, contract.CAKey}}}}
	default:
		return in.tokenVolume(name)
	}
}

// tokenVolume is the content of any other reserved volume.
func (in *injection) tokenVolume(name string) volume {
	sources := []volumeProjection{{ServiceAccountToken: &tokenProjection{
		Audience: in.audience(), ExpirationSeconds: in.expiration, Path: contract.TokenPath,
	}}}
	if e := in.settings.CustomTokenEndpoint; in.custom && e.caIsFile() {
		if e.CAConfigMap != "" {
			sources = append(sources, volumeProjection{ConfigMap: &configMapProjection{
				Name: e.CAConfigMap, Items: []keyToPath{{contract.CAKey, contract.CAPath}},
			}})
		} else {
			sources = append(sources, volumeProjection{ClusterTrustBundle: &trustBundleProjection{
				SignerName: e.CATrustBundleSigner, LabelSelector: e.CATrustBundleSelector, Path: contract.CAPath,
			}})
		}
	}
	return volume{Name: name, Projected: &projected{DefaultMode: defaultFileMode, Sources: sources}}
}

// legacyVolume projects the token a second time: a mount of a subPath would
// never see a rotated token.
func (in *injection) legacyVolume() volume {
	return volume{Name: contract.LegacyVolume, Projected: &projected{
		DefaultMode: defaultFileMode,
		Sources: []volumeProjection{{ServiceAccountToken: &tokenProjection{
			Audience: in.audience(), ExpirationSeconds: in.expiration, Path: contract.TokenFileName,
		}}},
	}}
}

// emptyVolume has no files. It is no emptyDir, which would keep kubectl drain and
// the cluster autoscaler from removing the pod.
func emptyVolume() volume {
	return volume{Name: contract.EmptyVolume, DownwardAPI: &downwardAPI{DefaultMode: defaultFileMode}}
}

// volumeOps reconciles the reserved volumes, whoever wrote them, and adds those
// that are missing. A legacy volume that is there already is the author's.
func (in *injection) volumeOps() []Op {
	p := in.pod
	var ops []Op
	for i, name := range p.volumeNames {
		if !isReserved(name) {
			continue
		}
		if want := in.volume(name); !sameVolume(p.spec.Volumes[i], want) {
			ops = append(ops, Op{Op: "replace", Path: "/spec/volumes/" + strconv.Itoa(i), Value: want})
		}
	}
	var missing []volume
	for _, name := range in.wantedVolumes() {
		if !slices.Contains(p.volumeNames, name) {
			missing = append(missing, in.volume(name))
		}
	}
	return append(ops, appendOps("/spec/volumes", len(p.volumeNames), missing)...)
}

// wantedVolumes names the volumes that our mounts, old and new, refer to.
func (in *injection) wantedVolumes() []string {
	var names []string
	if in.usesReservedVolume() {
		names = append(names, in.reservedVolume())
	}
	if in.usesLegacyVolume() {
		names = append(names, contract.LegacyVolume)
	}
	if in.addsProxy() {
		names = append(names, contract.EmptyVolume)
		if in.proxyCA() != "" {
			names = append(names, contract.ProxyCAVolume)
		}
	}
	// A spec copied from a mutated pod may have kept mounts without volumes.
	in.pod.containers(func(_ string, _ int, c podContainer) {
		for _, m := range c.VolumeMounts {
			if isReserved(m.Name) && !slices.Contains(names, m.Name) {
				names = append(names, m.Name)
			}
		}
	})
	return names
}

// reservedVolume is the volume that new mounts refer to: ours, or else one that
// upstream put into the pod that this spec was copied from.
func (in *injection) reservedVolume() string {
	if slices.Contains(in.pod.volumeNames, contract.TokenVolume) {
		return contract.TokenVolume
	}
	for _, name := range in.pod.volumeNames {
		if holdsToken(name) {
			return name
		}
	}
	return contract.TokenVolume
}

func isReserved(name string) bool { return strings.HasPrefix(name, contract.VolumePrefix) }

// holdsToken tells the token's volume, ours or upstream's, from our other ones.
func holdsToken(name string) bool {
	return isReserved(name) && name != contract.EmptyVolume && name != contract.ProxyCAVolume
}

// tokenMount finds where container c has the token volume mounted, or whatever
// its author put at our path. Upstream mounts below our path in some releases,
// and a mount of ours around such a one would keep the container from starting.
func tokenMount(c podContainer) (base string, found bool) {
	for _, m := range c.VolumeMounts {
		at := path.Clean(m.MountPath)
		if at == contract.MountPath || holdsToken(m.Name) && strings.HasPrefix(at, contract.MountPath+"/") {
			return at, true
		}
	}
	return contract.MountPath, false
}

func (c podContainer) mounts(at string) bool {
	return slices.ContainsFunc(c.VolumeMounts, func(m volumeMount) bool { return path.Clean(m.MountPath) == at })
}

// sameVolume compares a volume of the pod with the wanted one. The API server's
// defaults count as equal.
func sameVolume(have []byte, want volume) bool {
	wanted, err := json.Marshal(want)
	if err != nil || len(have) > 2*len(wanted)+mostAround {
		return false
	}
	a, b := decodeVolume(have), decodeVolume(wanted)
	return a != nil && reflect.DeepEqual(a, b)
}

// mostAround is more than the API server's defaults add to a volume. One that is
// larger is another one, and not worth the memory of decoding it.
const mostAround = 4 << 10

func decodeVolume(raw []byte) map[string]any {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v map[string]any
	if d.Decode(&v) != nil {
		return nil
	}
	var p map[string]any
	for _, source := range []string{"projected", "downwardAPI", "configMap"} {
		if of, ok := v[source].(map[string]any); ok {
			p = of
		}
	}
	if p == nil {
		return v
	}
	if _, ok := p["defaultMode"]; !ok {
		p["defaultMode"] = json.Number(strconv.Itoa(defaultFileMode))
	}
	sources, _ := p["sources"].([]any)
	for _, s := range sources {
		source, _ := s.(map[string]any)
		if cm, ok := source["configMap"].(map[string]any); ok {
			if _, ok := cm["optional"]; !ok {
				cm["optional"] = false
			}
		}
	}
	return v
}
