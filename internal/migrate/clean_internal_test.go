package migrate

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"azwi/internal/pod/workload"
)

// What the API server filled in goes, what somebody wrote stays.
func TestClean(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, kind, live, want string }{
		{"metadata and status", "Deployment", `
metadata:
  name: a
  uid: u
  resourceVersion: "1"
  generation: 2
  creationTimestamp: now
  managedFields: [{manager: kubectl}]
  finalizers: [foregroundDeletion, example.com/mine]
  annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}", deployment.kubernetes.io/revision: "1", mine: "1"}
spec: {replicas: 3}
status: {replicas: 3}`, `
metadata: {name: a, finalizers: [example.com/mine], annotations: {mine: "1"}}
spec: {replicas: 3}`},
		{"defaults of a Deployment", "Deployment", `
metadata: {name: a, annotations: {deployment.kubernetes.io/revision: "1"}}
spec:
  progressDeadlineSeconds: 600
  revisionHistoryLimit: 10
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}
  template: {metadata: {creationTimestamp: null}, spec: {dnsPolicy: ClusterFirst}}`, `
metadata: {name: a}
spec: {template: {spec: {}}}`},
		{"choices like defaults, but for another number", "Deployment", `
spec: {progressDeadlineSeconds: 601, strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 26%, maxUnavailable: 25%}}}`, `
spec: {progressDeadlineSeconds: 601, strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 26%, maxUnavailable: 25%}}}`},
		{"a StatefulSet and its claims", "StatefulSet", `
spec:
  podManagementPolicy: OrderedReady
  updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}}
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Retain, whenScaled: Retain}
  volumeClaimTemplates: [{metadata: {name: d, creationTimestamp: null}, spec: {volumeMode: Filesystem, storageClassName: fast}, status: {phase: Pending}}]`, `
spec: {volumeClaimTemplates: [{metadata: {name: d}, spec: {storageClassName: fast}}]}`},
		{"a DaemonSet", "DaemonSet", `
metadata: {name: a, annotations: {deprecated.daemonset.template.generation: "1"}}
spec: {revisionHistoryLimit: 10, updateStrategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}}`, `
metadata: {name: a}
spec: {}`},
		{"a Job's selector", "Job", `
metadata: {labels: {mine: a, job-name: a}, finalizers: [batch.kubernetes.io/job-tracking]}
spec:
  selector: {matchLabels: {controller-uid: u}}
  parallelism: 1
  completions: 1
  suspend: false
  template: {metadata: {labels: {controller-uid: u, batch.kubernetes.io/job-name: a, mine: a}}}`, `
metadata: {labels: {mine: a}}
spec: {template: {metadata: {labels: {mine: a}}}}`},
		{"a Job with a selector of its own", "Job", `
spec: {manualSelector: true, selector: {matchLabels: {mine: a}}, parallelism: 2}`, `
spec: {manualSelector: true, selector: {matchLabels: {mine: a}}, parallelism: 2}`},
		{"a CronJob", "CronJob", `
spec:
  schedule: "@daily"
  concurrencyPolicy: Allow
  suspend: false
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 1
  jobTemplate: {metadata: {creationTimestamp: null}, spec: {backoffLimit: 6, template: {spec: {restartPolicy: OnFailure}}}}`, `
spec: {schedule: "@daily", jobTemplate: {spec: {template: {spec: {restartPolicy: OnFailure}}}}}`},
		{"what admission and the scheduler add to a pod", "Pod", `
spec:
  nodeName: n
  priority: 0
  preemptionPolicy: PreemptLowerPriority
  serviceAccount: a
  serviceAccountName: a
  enableServiceLinks: true
  schedulerName: default-scheduler
  terminationGracePeriodSeconds: 30
  securityContext: {}
  tolerations:
  - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 300}
  - {key: mine, operator: Exists}
  volumes: [{name: kube-api-access-abcde}, {name: mine}]
  containers:
  - name: app
    image: r/app:1
    imagePullPolicy: IfNotPresent
    resources: {}
    terminationMessagePath: /dev/termination-log
    volumeMounts: [{name: kube-api-access-abcde}]
    ports: [{containerPort: 80, protocol: TCP}]
    livenessProbe: {periodSeconds: 10, failureThreshold: 5, httpGet: {scheme: HTTP, port: 80}}`, `
spec:
  serviceAccountName: a
  tolerations: [{key: mine, operator: Exists}]
  volumes: [{name: mine}]
  containers: [{name: app, image: r/app:1, ports: [{containerPort: 80}], livenessProbe: {failureThreshold: 5, httpGet: {port: 80}}}]`},
		{"choices of a pod", "Pod", `
spec: {preemptionPolicy: Never, enableServiceLinks: false, terminationGracePeriodSeconds: 31, restartPolicy: Never}`, `
spec: {preemptionPolicy: Never, enableServiceLinks: false, terminationGracePeriodSeconds: 31, restartPolicy: Never}`},
		{"pull policies that the image does not imply", "Pod", `
spec:
  containers:
  - {name: a, image: r/app, imagePullPolicy: Always}
  - {name: b, image: "r:5000/app", imagePullPolicy: IfNotPresent}
  - {name: c, image: "r/app:latest", imagePullPolicy: Always}
  - {name: d, image: "r/app@sha256:0", imagePullPolicy: IfNotPresent}
  - {name: e, image: "r/app:1", imagePullPolicy: Always}
  - {name: azwi-proxy, image: "r/proxy:1", imagePullPolicy: IfNotPresent}`, `
spec:
  containers:
  - {name: a, image: r/app}
  - {name: b, image: "r:5000/app", imagePullPolicy: IfNotPresent}
  - {name: c, image: "r/app:latest"}
  - {name: d, image: "r/app@sha256:0"}
  - {name: e, image: "r/app:1", imagePullPolicy: Always}
  - {name: azwi-proxy, image: "r/proxy:1", imagePullPolicy: IfNotPresent}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			raw, err := yaml.YAMLToJSON([]byte(test.live))
			if err != nil {
				t.Fatal(err)
			}
			o, err := decode(raw)
			if err != nil {
				t.Fatal(err)
			}
			clean(kindNamed(t, test.kind), o)
			got, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			want, err := yaml.YAMLToJSON([]byte(test.want))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func kindNamed(t *testing.T, name string) workload.Kind {
	t.Helper()
	for _, kind := range workload.Kinds() {
		if kind.Kind == name {
			return kind
		}
	}
	t.Fatalf("there is no kind %s", name)
	return workload.Kind{}
}
