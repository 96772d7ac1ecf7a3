package inject_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"azwi/contract"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/inject/injecttest"
)

// repeated is n elements of a list in JSON; %d in one is its position.
func repeated(n int, element string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strings.ReplaceAll(element, "%d", fmt.Sprint(i)))
	}
	b.WriteByte(']')
	return b.String()
}

func labelled(spec string) string { return annotated("", spec) }

func annotated(annotations, spec string) string {
	return `{"metadata":{"labels":{"azure.workload.identity/use":"true"},"annotations":{` + annotations + `}},"spec":{` + spec + `}}`
}

// TestLimits: a pod at each limit is taken, one beyond is not, and both are cheap.
func TestLimits(t *testing.T) {
	t.Parallel()
	const app = `"containers":[{"name":"app"}]`
	list := func(format, element string) func(int) string {
		return func(n int) string { return labelled(fmt.Sprintf(format, repeated(n, element))) }
	}
	for _, tt := range []struct {
		name string
		pod  func(n int) string
		most int
		says string
	}{
		{"containers", list(`"containers":%s`, `{}`), inject.MostContainers, "containers"},
		{"init containers", list(`"initContainers":%s`, `{"name":"i-%d"}`), inject.MostContainers, "containers"},
		{"escaped name of the list", list(`"cont\u0061iners":%s`, `{}`), inject.MostContainers, "containers"},
		{"two lists", func(n int) string {
			return labelled(`"containers":` + repeated(n-100, `{}`) + `,"containers":` + repeated(100, `{}`))
		}, inject.MostContainers, "containers"},
		{"variables", list(`"containers":[{"name":"app","env":%s}]`, `{}`), inject.MostVariables, "environment variables"},
		{"mounts", list(`"containers":[{"name":"app","volumeMounts":%s}]`, `{"name":"m%d","mountPath":"/m%d"}`), inject.MostMounts, "volume mounts"},
		{"volumes", list(app+`,"volumes":%s`, `{}`), inject.MostVolumes, "volumes"},
		{"ports", list(`"containers":[{"name":"app","ports":%s}]`, `{}`), inject.MostPorts, "ports"},
		{"tolerations", func(n int) string {
			return labelled(app + `,"tolerations":[{"key":"` + strings.Repeat("a", n-len(`[{"key":""}]`)) + `"}]`)
		}, inject.MostPlacement, "bytes of affinity"},
		{"reserved volumes", list(app+`,"volumes":%s`, `{"name":"azure-workload-identity-reserved-%d"}`), inject.MostReservedVolumes, "reserved volumes"},
		{"mounts of reserved volumes", list(`"containers":[{"name":"app","volumeMounts":%s}]`,
			`{"name":"azure-workload-identity-reserved-%d","mountPath":"/m%d"}`), inject.MostReservedVolumes, "reserved volumes"},
		{"annotations", func(n int) string {
			keys := strings.Trim(strings.ReplaceAll(repeated(n-1, `"k%d":""`), "[", ""), "]") // one key is the label
			return annotated(keys, app)
		}, inject.MostKeys, "labels and annotations"},
		{"an annotation of ours", func(n int) string {
			return annotated(`"azure.workload.identity/skip-containers":"`+strings.Repeat(";", n-2)+`"`, app)
		}, inject.MostAnnotation, "bytes in an annotation"},
		{"name of the account", func(n int) string { return labelled(`"serviceAccountName":"` + strings.Repeat("a", n) + `",` + app) }, inject.MostName, "bytes in a name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pod, err := inject.Parse([]byte(tt.pod(tt.most)))
			if err != nil {
				t.Fatalf("at the limit: %v", err)
			}
			if res := pod.Inject(inject.Account{}, injecttest.Settings()); res.Denial != nil {
				t.Errorf("at the limit: %+v", res.Denial)
			}
			_, err = inject.Parse([]byte(tt.pod(tt.most + 1)))
			limit, ok := errors.AsType[*inject.LimitError](err)
			if !ok || limit.Most != tt.most || limit.Count != tt.most+1 || !strings.Contains(limit.What, tt.says) {
				t.Errorf("beyond the limit: %v", err)
			}
		})
	}
}

// TestMeasure: no pod that is opted in is taken for one that is not.
func TestMeasure(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pod        string
		unlabelled bool
	}{
		{`{"metadata":{"labels":{"azure.workload.identity/use":"true"}},"spec":{}}`, false},
		{`{"spec":{},"metadata":{"labels":{"a":{"b":["]"]},"azure.workload.identity\/use":"tr\u0075e"}}}`, false},
		{`{"metadata":{"labels":{"azure.workload.identity/use":"false","azure.workload.identity/use":"true"}},"spec":{}}`, false},
		{` { "metadata" : { "labels" : { "azure.workload.identity/use" : "true" } } , "spec" : { } } `, false},
		{`{"metadata":{"labels":{"azure.workload.identity/use":"true"}},"metadata":{},"spec":{}}`, false},
		{`{"metadata":{"labels":{"azure.workload.identity/use":true}},"spec":{}}`, false}, // Parse refuses it
		{`{"metadata":{"labels":{"azure.workload.identity/use":"true"},"annotations":{"kubernetes.io/config.mirror":""}},"spec":{}}`, true},
		{`{"metadata":{"labels":{"azure.workload.identity/use":"true"},"annotations":{"kubernetes.io/config.mirror":""},"annotations":null},"spec":{}}`, false},
		{`{"metadata":{"labels":{"azure.workload.identity/use":"True"}},"spec":{}}`, true},
		{`{"metadata":{"Labels":{"azure.workload.identity/use":"true"}},"spec":{}}`, true},
		{`{"metadata":{"annotations":{"azure.workload.identity/use":"true"}},"spec":{}}`, true},
		{`{"metadata":null,"spec":{"containers":[1,"}",{"a":-1.5e3}]}}`, true},
		{`{}`, false}, // Parse refuses these
		{`{"spec":null}`, false},
		{`[]`, false},
		{`null`, false},
	} {
		if got := inject.Measure([]byte(tt.pod)).Unlabelled; got != tt.unlabelled {
			t.Errorf("%s: unlabelled is %t", tt.pod, got)
		}
	}
}

// FuzzMeasure: whatever the JSON, a pod that Parse finds opted in is not taken for
// an unlabelled one, and the scanner ends on what is no JSON.
func FuzzMeasure(f *testing.F) {
	cases, err := injecttest.Cases("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		f.Add(c.Pod)
	}
	f.Add([]byte(`{"metadata":{"annotations":{"kubernetes.io/config.mirror":"\""},"annotations":null,"labels":{"azure.workload.identity\u002fuse":"true"}},"spec":{}}`))
	f.Add([]byte(`{"a":[1,{"b":"\\"}],`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		o := inject.Measure(raw)
		if !json.Valid(raw) {
			return
		}
		pod, err := inject.Parse(raw)
		if err == nil && pod.OptedIn() && o.Unlabelled {
			t.Fatalf("opted in, but taken for unlabelled: %s", raw)
		}
	})
}

// TestMemory: the estimate is never below what is allocated, so charging it keeps a
// server within its memory.
func TestMemory(t *testing.T) { //nolint:paralleltest // it counts the whole process's allocations
	for _, tt := range []struct{ name, pod string }{
		{"small", labelled(`"containers":[{"name":"app","image":"app:1"}]`)},
		{"containers", labelled(`"containers":` + repeated(inject.MostContainers, `{}`))},
		{"variables", labelled(`"containers":[{"env":` + repeated(inject.MostVariables, `{}`) + `}]`)},
		{"mounts", labelled(`"containers":[{"volumeMounts":` + repeated(inject.MostMounts, `{}`) + `}]`)},
		{"volumes", labelled(`"containers":[{}],"volumes":` + repeated(inject.MostVolumes, `{}`))},
		{"ports", labelled(`"containers":[{"ports":` + repeated(inject.MostPorts, `{}`) + `}]`)},
		{"tolerations", labelled(`"containers":[{}],"tolerations":` + repeated(inject.MostPlacement/3-1, `{}`))},
		{"affinity", labelled(`"containers":[{}],"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":` +
			repeated(inject.MostPlacement/3-100, `{}`) + `}]}}}`)},
		{"annotation", annotated(`"`+contract.ProxyIdentitiesAnnotation+`":"`+strings.Repeat("a=22222222-2222-2222-2222-222222222222;", 800)+`","`+
			contract.InjectProxyAnnotation+`":"true"`, `"containers":[{}]`)},
		{"keys", annotated(strings.Trim(strings.ReplaceAll(repeated(inject.MostKeys-1, `"k%d":""`), "[", ""), "]"), `"containers":[{}]`)},
		{"text", labelled(`"containers":[{"env":[{"name":"X","value":"` + strings.Repeat(`\"`, 1<<20) + `"}]}]`)},
	} {
		raw, settings := []byte(tt.pod), injecttest.Settings()
		account := inject.Account{Annotations: map[string]string{contract.ClientIDAnnotation: "22222222-2222-2222-2222-222222222222"}}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		pod, err := inject.Parse(raw)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		res := pod.Inject(account, settings)
		if res.Denial != nil {
			t.Fatalf("%s: %v", tt.name, res.Denial)
		}
		patch, err := json.Marshal(res.Patch)
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		// As text in the answer: in base64, then within JSON.
		used, estimate := after.TotalAlloc-before.TotalAlloc+uint64(3*len(patch)), inject.Measure(raw).Memory(settings, account)
		t.Logf("%s: %d bytes of JSON, %d of patch: %d allocated, estimate %d", tt.name, len(raw), len(patch), used, estimate)
		if used > uint64(estimate)+128<<10 { // what encoding/json learns of the types at first
			t.Errorf("%s: the estimate is too low", tt.name)
		}
	}
}
