package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/finding"
)

func TestPaths(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		ref  Ref
		want string // empty: an error
	}{
		{Ref{"v1", "Namespace", "", "shop"}, "/api/v1/namespaces/shop"},
		{AccountRef("shop", "a/b"), "/api/v1/namespaces/shop/serviceaccounts/a%2Fb"},
		{Ref{"apps/v1", "Deployment", "shop", ""}, "/apis/apps/v1/namespaces/shop/deployments"},
		{Ref{"apps/v1", "Deployment", "", ""}, "/apis/apps/v1/deployments"},
		{Ref{"admissionregistration.k8s.io/v1", "MutatingAdmissionPolicy", "", "p"}, "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies/p"},
		{Ref{"apps/v1", "Deployment", "", "web"}, ""},
		{Ref{"v1", "Namespace", "shop", "shop"}, ""},
		{Ref{"v1", "Deployment", "shop", "web"}, ""},
		{Ref{"example.com/v1", "Namespace", "", "shop"}, ""},
		{Ref{}, ""},
	} {
		if got, err := test.ref.Path(); got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%v: %q, %v", test.ref, got, err)
		}
	}
}

// A list is read page by page; what the API server says or the caller ends it.
func TestList(t *testing.T) {
	t.Parallel()
	var asked []string
	c := connected(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		next := map[string]string{"": "one", "one": "two"}[r.URL.Query().Get("continue")]
		fmt.Fprintf(w, `{"metadata":{"continue":%q},"items":[{"metadata":{"name":%q}}]}`, next, "before-"+next)
	})
	if diff := cmp.Diff([]string{"before-one", "before-two", "before-"}, c.Namespaces(t.Context())); diff != "" {
		t.Error(diff)
	}
	const pods = "/api/v1/namespaces/shop/pods?"
	enough := errors.New("enough")
	err := c.List(t.Context(), Ref{APIVersion: "v1", Kind: "Pod", Namespace: "shop"}, "a=b", func(json.RawMessage) error { return enough })
	if !errors.Is(err, enough) {
		t.Error(err)
	}
	want := []string{
		"/api/v1/namespaces?limit=500", "/api/v1/namespaces?continue=one&limit=500", "/api/v1/namespaces?continue=two&limit=500",
		pods + "labelSelector=a%3Db&limit=500",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}

// A list without end ends.
func TestEndlessList(t *testing.T) {
	t.Parallel()
	pages := 0
	c := &Client{HTTP: &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		pages++
		w := httptest.NewRecorder()
		fmt.Fprint(w, `{"metadata":{"continue":"more"}}`)
		return w.Result(), nil
	})}}
	err := c.List(t.Context(), Ref{APIVersion: "v1", Kind: "Pod"}, "", func(json.RawMessage) error { return nil })
	if err == nil || pages != 2000 {
		t.Errorf("%d pages, %v", pages, err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestWrites(t *testing.T) {
	t.Parallel()
	var asked string
	c := connected(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.URL.String() + " " + r.Header.Get("Content-Type")
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, `{}`)
	})
	apply := Apply(AccountRef("shop", "web"), "azwi", map[string]any{})
	apply.DryRun = true
	if _, err := c.Do(t.Context(), apply, nil); err != nil || asked != "PATCH /api/v1/namespaces/shop/serviceaccounts/web?dryRun=All&fieldManager=azwi&force=true application/apply-patch+yaml" {
		t.Errorf("%s, %v", asked, err)
	}
	if there, err := c.Delete(t.Context(), AccountRef("shop", "web"), true); there || err != nil || asked != "DELETE /api/v1/namespaces/shop/serviceaccounts/web?dryRun=All " {
		t.Errorf("%s, %t, %v", asked, there, err)
	}
	if _, err := c.Delete(t.Context(), AccountRef("shop", ""), false); err == nil {
		t.Error("all service accounts were deleted")
	}
}

func TestWalk(t *testing.T) {
	t.Parallel()
	c := connected(t, func(w http.ResponseWriter, r *http.Request) {
		code, ok := map[string]int{"missing": 404, "forbidden": 403, "broken": 500}[r.URL.Path[len("/api/v1/namespaces/"):]]
		if ok {
			w.WriteHeader(code)
		}
		fmt.Fprint(w, `{"kind":"Namespace"}`)
	})
	unable := errors.New("can't compare")
	differ := func(lines []string, err error) func(context.Context, map[string]any) ([]string, error) {
		return func(_ context.Context, installed map[string]any) ([]string, error) {
			if installed["kind"] != "Namespace" {
				t.Error(installed)
			}
			return lines, err
		}
	}
	var wanted []Wanted
	want := map[string]State{}
	for _, test := range []struct {
		name        string
		differences func(context.Context, map[string]any) ([]string, error)
		state       State
	}{
		{"there", nil, Same},
		{"same", differ(nil, nil), Same},
		{"different", differ([]string{"a"}, nil), Different},
		{"uncomparable", differ(nil, &StatusError{Code: 403}), Forbidden},
		{"unable", differ(nil, unable), Failed},
		{"missing", differ(nil, unable), Missing},
		{"forbidden", differ(nil, unable), Forbidden},
		{"broken", differ(nil, unable), Failed},
	} {
		wanted = append(wanted, Wanted{Ref{"v1", "Namespace", "", test.name}, test.differences})
		want[test.name] = test.state
	}
	got := map[string]State{}
	for found := range c.Walk(t.Context(), wanted) {
		got[found.Ref.Name] = found.State
		if (found.Err != nil) != (found.State == Forbidden || found.State == Failed) || (len(found.Differences) > 0) != (found.State == Different) {
			t.Errorf("%+v", found)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for range c.Walk(t.Context(), wanted) {
		break
	}
}

// Refusals say what to do, once.
func TestExplain(t *testing.T) {
	t.Parallel()
	c := connected(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == "/version" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusForbidden)
	})
	nobody := &Client{Host: "http://127.0.0.1:1", HTTP: http.DefaultClient}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	do := func(method string, ref Ref) error {
		_, err := c.Do(t.Context(), Request{Method: method, Ref: ref}, nil)
		return err
	}
	account, all := AccountRef("shop", "web"), Ref{APIVersion: "v1", Kind: "Pod"}
	for _, test := range []struct {
		name string
		err  error
		want finding.Finding // zero: nothing
	}{
		{"401", c.Get(t.Context(), "/version", nil), finding.ClusterSignIn()},
		{"403 of no resource", c.Get(t.Context(), "/apis", nil), finding.Finding{}},
		{"get", do(http.MethodGet, account), finding.ClusterForbidden("get", "serviceaccounts", "shop")},
		{"list", do(http.MethodGet, all), finding.ClusterForbidden("list", "pods", "")},
		{"create", do(http.MethodPost, all), finding.ClusterForbidden("create", "pods", "")},
		{"patch", do(http.MethodPatch, account), finding.ClusterForbidden("patch", "serviceaccounts", "shop")},
		{"delete", do(http.MethodDelete, account), finding.ClusterForbidden("delete", "serviceaccounts", "shop")},
		{"delete all", do(http.MethodDelete, all), finding.ClusterForbidden("deletecollection", "pods", "")},
		{"no answer", nobody.Get(t.Context(), "/version", nil), finding.ClusterUnreachable(false)},
		{"ended", nobody.Get(ended, "/version", nil), finding.Finding{}},
		{"explained", finding.NoCluster().Err(do(http.MethodGet, account)), finding.Finding{}},
		{"something else", errors.New("x"), finding.Finding{}},
	} {
		got, ok := Explain(fmt.Errorf("wrapped: %w", test.err))
		if got != test.want || ok != (test.want != finding.Finding{}) {
			t.Errorf("%s: %v, %t", test.name, got, ok)
		}
	}
}
