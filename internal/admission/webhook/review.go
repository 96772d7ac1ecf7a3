package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	sigsjson "sigs.k8s.io/json"

	"azwi/internal/finding"
	"azwi/internal/pod/inject"
)

// The envelope of admission, as in k8s.io/api/admission/v1. The pod inside stays
// raw. https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/

type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type request struct {
	UID         string   `json:"uid"`
	Resource    resource `json:"resource"`
	SubResource string   `json:"subResource"`
	Name        string   `json:"name"`
	Namespace   string   `json:"namespace"`
	Operation   string   `json:"operation"`
	Object      rawJSON  `json:"object"`
}

// rawJSON is a part of the body it was decoded from, not a copy as json.RawMessage
// is. The body stays as it is while the review is in use.
type rawJSON []byte

func (r *rawJSON) UnmarshalJSON(data []byte) error {
	*r = data
	return nil
}

// mostName is the length of the longest name in Kubernetes, in bytes. The API server
// sends no longer ones, and others would fill logs and metrics.
const mostName = 253

type resource struct {
	Group    string `json:"group"`
	Version  string `json:"version"`
	Resource string `json:"resource"`
}

type response struct {
	UID              string            `json:"uid"`
	Allowed          bool              `json:"allowed"`
	Result           *status           `json:"status,omitempty"`
	Patch            []byte            `json:"patch,omitempty"`
	PatchType        string            `json:"patchType,omitempty"`
	AuditAnnotations map[string]string `json:"auditAnnotations,omitempty"`
	Warnings         []string          `json:"warnings,omitempty"`
}

type status struct {
	Status  string   `json:"status"`
	Message string   `json:"message"`
	Reason  string   `json:"reason"`
	Code    int      `json:"code"`
	Details *details `json:"details,omitempty"`
}

type details struct {
	// RetryAfterSeconds makes the API server send Retry-After, on which client-go
	// tries again by itself.
	RetryAfterSeconds int `json:"retryAfterSeconds,omitempty"`
}

// parseReview reads a review of the creation of a pod. The error is for the
// caller of the endpoint.
func parseReview(body []byte) (*review, error) {
	if !utf8.Valid(body) { // decoding would make it longer
		return nil, errors.New("the body must be an AdmissionReview in UTF-8")
	}
	var r review
	if err := sigsjson.UnmarshalCaseSensitivePreserveInts(body, &r); err != nil {
		return nil, fmt.Errorf("the body is not an AdmissionReview: %.300s", err.Error())
	}
	switch {
	case r.Kind != "AdmissionReview" || r.APIVersion != "admission.k8s.io/v1" && r.APIVersion != "admission.k8s.io/v1beta1":
		return nil, fmt.Errorf("the body is %.64q of %.64q: want AdmissionReview of admission.k8s.io/v1", r.Kind, r.APIVersion)
	case r.Request == nil || r.Request.UID == "":
		return nil, errors.New("the AdmissionReview has no request or its request no uid")
	}
	q := r.Request
	if max(len(q.UID), len(q.Name), len(q.Namespace)) > mostName {
		return nil, fmt.Errorf("the request's uid, name or namespace is longer than %d bytes", mostName)
	}
	if q.Operation != "CREATE" || q.Resource != (resource{"", "v1", "pods"}) || q.SubResource != "" {
		return nil, fmt.Errorf("the request is %.16q of %.64q %.64q: this webhook takes only CREATE of pods; correct the rules of its MutatingWebhookConfiguration",
			q.Operation, q.Resource.Group+"/"+q.Resource.Version, q.Resource.Resource+"/"+q.SubResource)
	}
	return &r, nil
}

// answer turns a review's request into its response, in place.
func (r *review) answer(a response) {
	a.UID = r.Request.UID
	r.Request = nil
	r.Response = &a
}

// mostPatch bounds a patch, in bytes. One of 200 containers takes 110 KiB.
const mostPatch = 1 << 20

var errPatchTooLarge = finding.PatchTooLarge(mostPatch).Err(nil)

// encodePatch writes the operations as JSON, one by one, so that a patch that grows
// too large is noticed before it takes memory.
func encodePatch(ops []inject.Op) ([]byte, error) {
	patch := []byte{'['}
	for i, op := range ops {
		if i > 0 {
			patch = append(patch, ',')
		}
		text, err := json.Marshal(op)
		if err != nil {
			return nil, fmt.Errorf("encode patch: %w", err)
		}
		if len(patch)+len(text) > mostPatch {
			return nil, errPatchTooLarge
		}
		patch = append(patch, text...)
	}
	return append(patch, ']'), nil
}

func patchResponse(res inject.Result) (response, error) {
	a := response{Allowed: true}
	if len(res.Patch) > 0 {
		patch, err := encodePatch(res.Patch)
		if err != nil {
			return response{}, err
		}
		a.Patch, a.PatchType = patch, "JSONPatch"
	}
	for _, w := range res.Warnings {
		a.Warnings = append(a.Warnings, w.Text())
		if a.AuditAnnotations == nil {
			a.AuditAnnotations = map[string]string{}
		}
		reason := string(w.Code())
		if before := a.AuditAnnotations[reason]; before != "" {
			a.AuditAnnotations[reason] = before + "; " + w.Text()
		} else {
			a.AuditAnnotations[reason] = w.Text()
		}
	}
	return a, nil
}
