package migrate

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"azwi/contract"
	"azwi/internal/pod/workload"
)

// clean removes what the API server and its controllers added to an object, so that
// it can be applied there and elsewhere.
func clean(kind workload.Kind, o object) {
	delete(o, "status")
	cleanMetadata(child(o, "metadata"))
	switch kind.Kind {
	case "Job":
		cleanJob(o)
	case "CronJob":
		drop(child(o, "spec"), defaultsOfCronJob())
		cleanMetadata(child(o, "spec", "jobTemplate", "metadata"))
		cleanJob(child(o, "spec", "jobTemplate"))
	case "StatefulSet":
		claims, _ := child(o, "spec")["volumeClaimTemplates"].([]any)
		for _, c := range claims {
			claim, _ := c.(object)
			delete(claim, "status")
			cleanMetadata(child(claim, "metadata"))
			drop(child(claim, "spec"), object{"volumeMode": "Filesystem"})
		}
	}
	if spec := child(o, "spec"); kind.Kind != "Pod" {
		drop(child(spec, "updateStrategy", "rollingUpdate"), object{"partition": 0, "maxUnavailable": 1, "maxSurge": 0})
		drop(spec, defaultsOf(kind.Kind))
	}
	template := o
	if len(kind.Template) > 0 {
		template = child(o, kind.Template...)
		cleanMetadata(child(template, "metadata"))
	}
	cleanPod(child(template, "spec"))
	prune(o)
}

// cleanMetadata keeps what an author writes. Owners go too: they are named by the
// UID of another live object.
func cleanMetadata(m object) {
	for _, key := range []string{
		"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
		"selfLink", "managedFields", "ownerReferences",
	} {
		delete(m, key)
	}
	if annotations, ok := m["annotations"].(object); ok {
		for _, key := range []string{
			"kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision",
			"deprecated.daemonset.template.generation", "batch.kubernetes.io/job-tracking",
		} {
			delete(annotations, key)
		}
	}
	if finalizers, ok := m["finalizers"].([]any); ok {
		m["finalizers"] = slices.DeleteFunc(slices.Clone(finalizers), func(f any) bool {
			name, _ := f.(string)
			return strings.HasPrefix(name, "batch.kubernetes.io/") || name == "foregroundDeletion" || name == "orphan"
		})
	}
}

// cleanJob removes the selector that the API server gave a Job, and the labels that
// it selects by: another object would get others.
func cleanJob(job object) {
	spec := child(job, "spec")
	if manual, _ := spec["manualSelector"].(bool); !manual {
		delete(spec, "selector")
		for _, labels := range []object{child(job, "metadata", "labels"), child(spec, "template", "metadata", "labels")} {
			for _, key := range []string{"controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"} {
				delete(labels, key)
			}
		}
	}
	drop(spec, object{
		"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": false,
		"podReplacementPolicy": "TerminatingOrFailed", "manualSelector": false,
	})
}

// The tables below are the API server's defaults; a member with such a value says
// nothing.
// https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/

func defaultsOfCronJob() object {
	return object{"concurrencyPolicy": "Allow", "suspend": false, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1}
}

func defaultsOf(kind string) object {
	switch kind {
	case "Deployment":
		return object{"progressDeadlineSeconds": 600, "revisionHistoryLimit": 10, "strategy": object{
			"type": "RollingUpdate", "rollingUpdate": object{"maxUnavailable": "25%", "maxSurge": "25%"},
		}}
	case "DaemonSet":
		return object{"revisionHistoryLimit": 10, "updateStrategy": object{"type": "RollingUpdate", "rollingUpdate": object{}}}
	case "StatefulSet":
		return object{
			"podManagementPolicy": "OrderedReady", "revisionHistoryLimit": 10,
			"updateStrategy":                       object{"type": "RollingUpdate", "rollingUpdate": object{}},
			"persistentVolumeClaimRetentionPolicy": object{"whenDeleted": "Retain", "whenScaled": "Retain"},
		}
	}
	return nil
}

func cleanPod(spec object) {
	// What admission and the scheduler filled in.
	for _, key := range []string{"nodeName", "priority", "preemptionPolicy", "serviceAccount", "enableServiceLinks"} {
		if key == "enableServiceLinks" && spec[key] != true || key == "preemptionPolicy" && spec[key] != "PreemptLowerPriority" {
			continue
		}
		delete(spec, key)
	}
	drop(spec, object{
		"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
		"terminationGracePeriodSeconds": 30, "securityContext": object{},
	})
	if tolerations, ok := spec["tolerations"].([]any); ok {
		spec["tolerations"] = slices.DeleteFunc(slices.Clone(tolerations), func(t any) bool {
			toleration, _ := t.(object)
			key, _ := toleration["key"].(string)
			return equal(toleration["tolerationSeconds"], 300) && toleration["effect"] == "NoExecute" &&
				(key == "node.kubernetes.io/not-ready" || key == "node.kubernetes.io/unreachable")
		})
	}
	// The API server's own token volume.
	token := func(v any) bool {
		m, _ := v.(object)
		name, _ := m["name"].(string)
		return strings.HasPrefix(name, "kube-api-access-")
	}
	if volumes, ok := spec["volumes"].([]any); ok {
		spec["volumes"] = slices.DeleteFunc(slices.Clone(volumes), token)
	}
	for _, list := range []string{"initContainers", "containers"} {
		containers, _ := spec[list].([]any)
		for _, c := range containers {
			container, _ := c.(object)
			if mounts, ok := container["volumeMounts"].([]any); ok {
				container["volumeMounts"] = slices.DeleteFunc(slices.Clone(mounts), token)
			}
			drop(container, object{
				"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "resources": object{},
			})
			cleanPullPolicy(container)
			ports, _ := container["ports"].([]any)
			for _, p := range ports {
				port, _ := p.(object)
				drop(port, object{"protocol": "TCP"})
			}
			for _, name := range []string{"livenessProbe", "readinessProbe", "startupProbe"} {
				probe := child(container, name)
				drop(probe, object{"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3})
				drop(child(probe, "httpGet"), object{"scheme": "HTTP"})
			}
		}
	}
}

// cleanPullPolicy removes the policy that the image's tag implies. The proxy's is
// written out.
func cleanPullPolicy(container object) {
	if name := text(container, "name"); name == contract.ProxyContainer || name == contract.ProxyInitContainer {
		return
	}
	image, _ := container["image"].(string)
	name := image[strings.LastIndex(image, "/")+1:]
	implied := "IfNotPresent"
	if tag := name[strings.LastIndex(name, ":")+1:]; !strings.Contains(name, "@") && (tag == "latest" || !strings.Contains(name, ":")) {
		implied = "Always"
	}
	if container["imagePullPolicy"] == implied {
		delete(container, "imagePullPolicy")
	}
}

// drop removes members that have the given values.
func drop(o, defaults object) {
	for key, value := range defaults {
		if equal(o[key], value) {
			delete(o, key)
		}
	}
}

// equal compares values as JSON, whatever Go type their numbers have.
func equal(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// prune removes labels, annotations and lists that have become empty.
func prune(v any) {
	switch v := v.(type) {
	case object:
		for key, value := range v {
			prune(value)
			if list, ok := value.([]any); ok && len(list) == 0 && slices.Contains([]string{"tolerations", "volumes", "volumeMounts", "finalizers"}, key) {
				delete(v, key)
			}
			if m, ok := value.(object); ok && len(m) == 0 && slices.Contains([]string{"labels", "annotations", "metadata", "rollingUpdate"}, key) {
				delete(v, key)
			}
		}
	case []any:
		for _, value := range v {
			prune(value)
		}
	}
}

// child returns an object inside of another; where there is none, an empty one that
// is not part of it.
func child(o object, path ...string) object {
	for _, name := range path {
		next, ok := o[name].(object)
		if !ok {
			return object{}
		}
		o = next
	}
	return o
}

// ensure returns an object inside of another, and puts it there where there is none.
func ensure(o object, path ...string) object {
	for _, name := range path {
		next, ok := o[name].(object)
		if !ok {
			next = object{}
			o[name] = next
		}
		o = next
	}
	return o
}

// decode keeps numbers as they are.
func decode(raw []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var o object
	err := d.Decode(&o)
	return o, err
}
