package admission_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/inject/injecttest"
	"azwi/test/handlers"
)

// A field is one of a pod's, container's or pod security context's, with a value and
// what it means to the containers that are injected.
type field struct {
	name  string // as in the API, behind podSpec, container or securityContext
	value string // YAML, merged into the spec, the container or the security context
	note  string // why injection does not look at it, or what it does
	// denied is why a pod with the field gets no proxy. Empty: it is admitted, in both modes.
	denied finding.Code
	// warned is what its creator is told.
	warned finding.Code
}

const (
	elsewhere = "about where and when the pod runs"
	names     = "about names, which the proxy does not use"
	ofOne     = "about that container only"
	ofKernel  = "about the processes of the pod; the proxy's may be among them"
)

// podFields are those of Kubernetes 1.30 to 1.37.
func podFields() []field {
	return []field{
		{name: "volumes", value: `volumes: [{name: a, emptyDir: {}}]`, note: "ours are added"},
		{name: "initContainers", value: `initContainers: [{name: first, image: a}]`, note: "completed; the proxy comes before them"},
		{name: "initContainers", value: `initContainers: [{name: first, image: a, restartPolicy: Always}]`, note: "likewise"},
		{name: "containers", value: `{}`, note: "completed"},
		{name: "ephemeralContainers", value: `{}`, note: "never there at creation"},
		{name: "restartPolicy", value: `restartPolicy: Never`, note: "a native sidecar ends with the pod; an ordinary one is warned of (proxy-classic-job)"},
		{name: "terminationGracePeriodSeconds", value: `terminationGracePeriodSeconds: 0`, note: elsewhere},
		{name: "activeDeadlineSeconds", value: `activeDeadlineSeconds: 1`, note: elsewhere},
		{name: "dnsPolicy", value: "dnsPolicy: None\ndnsConfig: {nameservers: [10.0.0.1]}", note: "the proxy resolves Entra's name as the application does"},
		{name: "nodeSelector", value: `nodeSelector: {kubernetes.io/os: windows}`, denied: finding.CodeProxyWindows},
		{name: "nodeSelector", value: `nodeSelector: {type: virtual-kubelet}`, warned: finding.CodeVirtualNode},
		{name: "nodeSelector", value: `nodeSelector: {kubernetes.io/os: linux}`, note: elsewhere},
		{name: "serviceAccountName", value: `{}`, note: "whose identity it is"},
		{name: "serviceAccount", value: `serviceAccount: default`, note: "the API server makes serviceAccountName of it"},
		{name: "automountServiceAccountToken", value: `automountServiceAccountToken: false`, note: "the API server's own token"},
		{name: "nodeName", value: `nodeName: a`, note: elsewhere},
		{name: "hostNetwork", value: `hostNetwork: true`, denied: finding.CodeHostNetwork},
		{name: "hostPID", value: `hostPID: true`, note: ofKernel},
		{name: "hostIPC", value: `hostIPC: true`, note: ofKernel},
		{name: "shareProcessNamespace", value: `shareProcessNamespace: true`, note: ofKernel},
		{name: "securityContext", value: `securityContext: {}`, note: "each of its fields below"},
		{name: "imagePullSecrets", value: `imagePullSecrets: [{name: a}]`, note: "serve the proxy's image too"},
		{name: "hostname", value: `hostname: a`, note: names},
		{name: "subdomain", value: `subdomain: a`, note: names},
		{name: "affinity", value: `affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/os, operator: In, values: [windows]}]}]}}}`, denied: finding.CodeProxyWindows},
		{name: "affinity", value: `affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [a]}]}]}}}`, note: elsewhere},
		{name: "schedulerName", value: `schedulerName: a`, note: elsewhere},
		{name: "tolerations", value: `tolerations: [{key: virtual-kubelet.io/provider, operator: Exists}]`, warned: finding.CodeVirtualNode},
		{name: "tolerations", value: `tolerations: [{operator: Exists}]`, note: elsewhere},
		{name: "hostAliases", value: `hostAliases: [{ip: 10.0.0.1, hostnames: [a]}]`, note: names},
		{name: "priorityClassName", value: `priorityClassName: system-node-critical`, note: elsewhere},
		{name: "priority", value: `priority: 0`, note: elsewhere},
		{name: "dnsConfig", value: `dnsConfig: {searches: [a]}`, note: names},
		{name: "readinessGates", value: `readinessGates: [{conditionType: a}]`, note: elsewhere},
		{name: "runtimeClassName", value: `{}`, note: "the class may lack nftables: docs/proxy.md; no such class here"},
		{name: "enableServiceLinks", value: `enableServiceLinks: false`, note: names},
		{name: "preemptionPolicy", value: `preemptionPolicy: PreemptLowerPriority`, note: elsewhere},
		{name: "overhead", value: `{}`, note: "the runtime class's, not the author's"},
		{name: "topologySpreadConstraints", value: `topologySpreadConstraints: [{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule}]`, note: elsewhere},
		{name: "setHostnameAsFQDN", value: `setHostnameAsFQDN: true`, note: names},
		{name: "os", value: `os: {name: windows}`, denied: finding.CodeProxyWindows},
		{name: "os", value: `os: {name: linux}`, note: "as if it were not there"},
		{name: "hostUsers", value: `hostUsers: false`, note: "the network namespace belongs to the pod's user namespace, so NET_ADMIN suffices"},
		{name: "schedulingGates", value: `schedulingGates: [{name: a}]`, note: elsewhere},
		{name: "resourceClaims", value: `resourceClaims: [{name: a, resourceClaimName: a}]`, note: "containers that do not name a claim have none"},
		{name: "resources", value: `resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 200m, memory: 128Mi}}`, note: "injected containers have none of their own then"},
		{name: "resources", value: `resources: {limits: {cpu: 1}}`, note: "likewise"},
		{name: "hostnameOverride", value: `hostnameOverride: a`, note: names},
		{name: "schedulingGroup", value: `schedulingGroup: {podGroupName: a}`, note: elsewhere},
		{name: "evictionResponders", value: `evictionResponders: []`, note: elsewhere},
	}
}

func securityFields() []field {
	return []field{
		{name: "seLinuxOptions", value: `seLinuxOptions: {level: "s0:c1,c2"}`, note: "labels all of the pod's containers alike"},
		{name: "windowsOptions", value: `windowsOptions: {runAsUserName: a}`, note: "Linux nodes ignore it"},
		{name: "runAsUser", value: `runAsUser: 0`, note: "the sidecar has a user of its own: always in redirect mode, beside root in env mode"},
		{name: "runAsUser", value: `runAsUser: 1000`, note: "the sidecar's too, in env mode"},
		{name: "runAsGroup", value: "runAsUser: 1000\nrunAsGroup: 0", note: "the sidecar's too, in env mode"},
		{name: "runAsNonRoot", value: `runAsNonRoot: true`, note: "the init container says that it is root, and no more than NET_ADMIN"},
		{name: "supplementalGroups", value: `supplementalGroups: [1]`, note: "read the token no better and no worse"},
		{name: "supplementalGroupsPolicy", value: `supplementalGroupsPolicy: Strict`, note: "the proxy's image has no groups"},
		{name: "fsGroup", value: `fsGroup: 1`, note: "a group of all containers, and the token's"},
		{name: "sysctls", value: `sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: "0"}]`, note: "the proxy's port is not privileged"},
		{name: "fsGroupChangePolicy", value: `fsGroupChangePolicy: OnRootMismatch`, note: "not for projected volumes"},
		{name: "seccompProfile", value: `seccompProfile: {type: Unconfined}`, note: "injected containers have their own"},
		{name: "appArmorProfile", value: `appArmorProfile: {type: RuntimeDefault}`, note: "the injected containers' too"},
		{name: "seLinuxChangePolicy", value: `seLinuxChangePolicy: Recursive`, note: "not for projected volumes"},
	}
}

func containerFields() []field {
	return []field{
		{name: "name", value: `{}`, note: "of a proxy container: that one stays (proxy-present)"},
		{name: "image", value: `{}`, note: ofOne},
		{name: "command", value: `command: [a]`, note: ofOne},
		{name: "args", value: `args: [$(AZURE_CLIENT_ID)]`, note: "expand whatever the order of variables"},
		{name: "workingDir", value: `workingDir: /a`, note: ofOne},
		{name: "ports", value: `ports: [{containerPort: 8000}]`, warned: finding.CodePortTaken},
		{name: "ports", value: `ports: [{containerPort: 80, hostPort: 80}]`, note: ofOne},
		{name: "envFrom", value: `envFrom: [{configMapRef: {name: a}}]`, note: "ours go before it"},
		{name: "env", value: `env: [{name: A, value: $(AZURE_CLIENT_ID)}]`, note: "ours go before it (env-reference)"},
		{name: "env", value: `env: [{name: AZURE_CLIENT_ID, value: ""}]`, warned: finding.CodeOwnClientID},
		{name: "env", value: `env: [{name: AZURE_CLIENT_ID, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['a']"}}}]`, note: "the author's choice"},
		{name: "resources", value: `resources: {limits: {cpu: 1, memory: 1Gi}}`, note: ofOne},
		{name: "resizePolicy", value: `resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}]`, note: ofOne},
		{name: "restartPolicy", value: `restartPolicy: Never`, note: ofOne},
		{name: "restartPolicyRules", value: "restartPolicy: Never\nrestartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]", note: ofOne},
		{name: "volumeMounts", value: `{}`, note: "ours are added"},
		{name: "volumeDevices", value: `{}`, note: ofOne},
		{name: "livenessProbe", value: `livenessProbe: {tcpSocket: {port: 1}}`, note: "not through the redirect, which is for one address"},
		{name: "readinessProbe", value: `readinessProbe: {exec: {command: [a]}}`, note: ofOne},
		{name: "startupProbe", value: `startupProbe: {httpGet: {port: 1}}`, note: ofOne},
		{name: "lifecycle", value: `lifecycle: {preStop: {sleep: {seconds: 1}}}`, note: ofOne},
		{name: "terminationMessagePath", value: `terminationMessagePath: /a`, note: ofOne},
		{name: "terminationMessagePolicy", value: `terminationMessagePolicy: File`, note: ofOne},
		{name: "imagePullPolicy", value: `imagePullPolicy: Never`, note: ofOne},
		{name: "securityContext", value: `securityContext: {privileged: true}`, note: "but for the proxy's own user, which is refused (proxy-uid)"},
		{name: "stdin", value: `stdin: true`, note: ofOne},
		{name: "stdinOnce", value: `stdinOnce: true`, note: ofOne},
		{name: "tty", value: `tty: true`, note: ofOne},
	}
}

// TestFields creates pods with every field that the API has: what the API server
// takes without the proxy it takes with it, in both modes, or the pod is denied by
// name. A field that a newer Kubernetes has needs a row, and a thought.
func TestFields(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	namespace := newNamespace(t, c)
	settings := injecttest.Settings()
	handlers.Serve(t, c).Register(t, namespace, settings)
	account := inject.Account{Namespace: namespace, Name: "default"}
	for _, of := range []struct {
		name   string
		typ    reflect.Type
		fields []field
		put    func(spec, value object)
	}{
		{"podSpec", reflect.TypeFor[corev1.PodSpec](), podFields(), func(spec, value object) { maps.Copy(spec, value) }},
		{"securityContext", reflect.TypeFor[corev1.PodSecurityContext](), securityFields(), func(spec, value object) { spec["securityContext"] = value }},
		{"container", reflect.TypeFor[corev1.Container](), containerFields(), func(spec, value object) {
			maps.Copy(spec["containers"].([]object)[0], value)
		}},
	} {
		known := map[string]bool{}
		for _, f := range of.fields {
			known[f.name] = true
			var value object
			if err := yaml.Unmarshal([]byte(f.value), &value); err != nil {
				t.Fatalf("%s: %v", f.name, err)
			}
			if f.note == "" && f.denied == "" && f.warned == "" {
				t.Errorf("%s.%s has no reason", of.name, f.name)
			}
			create := func(labels, annotations map[string]string) (warnings []string, raw []byte, err error) {
				spec := object{"containers": []object{{"name": "app", "image": "a:1"}}}
				of.put(spec, value)
				raw, err = json.Marshal(object{"metadata": object{"name": "orders", "labels": labels, "annotations": annotations}, "spec": spec})
				if err != nil {
					t.Fatal(err)
				}
				warnings, err = c.Admin.Do(t.Context(), "POST", "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", json.RawMessage(raw), nil)
				return warnings, raw, err
			}
			if _, _, err := create(nil, nil); err != nil {
				t.Errorf("%s.%s: the API server takes it of nobody: %v", of.name, f.value, err)
				continue
			}
			for _, mode := range []string{contract.ProxyModeRedirect, contract.ProxyModeEnv} {
				warnings, raw, err := create(map[string]string{contract.UseLabel: contract.UseLabelValue},
					map[string]string{contract.InjectProxyAnnotation: "true", contract.ProxyModeAnnotation: mode})
				offline := handlers.Parse(t, raw).Inject(account, settings)
				switch {
				case f.denied != "" && (offline.Denial == nil || offline.Denial.Code() != f.denied || err == nil || !strings.Contains(err.Error(), offline.Denial.Text())):
					t.Errorf("%s.%s, %s: got %v, want the denial %s", of.name, f.value, mode, err, f.denied)
				case f.denied == "" && err != nil:
					t.Errorf("%s.%s, %s: %v", of.name, f.value, mode, err)
				}
				told := false
				for _, w := range offline.Warnings {
					told = told || w.Code() == f.warned && strings.Contains(strings.Join(warnings, "\n"), w.Text())
				}
				if f.warned != "" && !told {
					t.Errorf("%s.%s, %s: warnings are %q, want %s", of.name, f.value, mode, warnings, f.warned)
				}
			}
		}
		for field := range of.typ.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !known[name] {
				t.Errorf("%s.%s is new: find out what it means to injected containers, and add it to the table", of.name, name)
			}
			delete(known, name)
		}
		for name := range known {
			t.Errorf("%s.%s is no field of Kubernetes' API any more", of.name, name)
		}
	}
}
