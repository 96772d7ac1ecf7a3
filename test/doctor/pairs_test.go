package doctor_test

import (
	"maps"
	"testing"
)

// pairs plants two mistakes at once, one in the pod template and one at the identity:
// both are found, and nothing else.
func (w world) pairs(t *testing.T) {
	t.Parallel()
	container := func(env ...any) object {
		return object{"spec": object{"template": object{"spec": object{"containers": []any{object{"name": "app", "image": "app:1", "env": env}}}}}}
	}
	inPod := map[string]mistake{
		"client secret": {Deployment: container(object{"name": "AZURE_CLIENT_SECRET", "value": "x"}), Warn: []string{"client-secret-env"}},
		"own authority": {Deployment: container(object{"name": "AZURE_AUTHORITY_HOST", "value": "https://login.chinacloudapi.cn"}), Want: []string{"own-authority"}},
		"container skipped": {
			Deployment: object{"spec": object{"template": object{"metadata": object{"annotations": object{"azure.workload.identity/skip-containers": "app"}}}}},
			Warn:       []string{"container-skipped"},
		},
		"no label": {
			Deployment: object{"spec": object{"template": object{"metadata": object{"labels": object{"azure.workload.identity/use": nil}}}}},
			Warn:       []string{"label-missing"}, Exit: 2,
		},
	}
	const otherIssuer = "https://issuer.example/"
	atIdentity := map[string]func(namespace string) mistake{
		"swapped": func(namespace string) mistake {
			return mistake{Credential: object{"subject": "system:serviceaccount:orders:" + namespace}, Want: []string{"credential-subject"}}
		},
		"capital": func(namespace string) mistake {
			return mistake{Credential: object{"subject": "system:serviceaccount:" + namespace + ":Orders"}, Want: []string{"credential-subject"}}
		},
		"issuer": func(string) mistake {
			return mistake{Credential: object{"issuer": otherIssuer}, Want: []string{"credential-issuer"}}
		},
		"audience": func(string) mistake {
			return mistake{Credential: object{"audience": "api://other"}, Want: []string{"credential-audience"}}
		},
		"none": func(string) mistake {
			return mistake{Credential: "absent", Want: []string{"credential-missing"}}
		},
	}
	for first, one := range maps.All(inPod) {
		for second, other := range maps.All(atIdentity) {
			t.Run(first+" and "+second, func(t *testing.T) {
				t.Parallel()
				namespace, err := w.c.NewNamespace(t.Context(), "doctor")
				if err != nil {
					t.Fatal(err)
				}
				m := one
				at := other(namespace)
				m.Credential, m.Want = at.Credential, append(append([]string(nil), one.Want...), at.Want...)
				w.plant(t, namespace, m)
				w.check(t, namespace, m)
			})
		}
	}
}
