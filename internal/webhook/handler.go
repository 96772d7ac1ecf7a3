package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"time"

	"azwi/internal/account"
	"azwi/internal/inject"
)

// accounts reads service accounts. An answer must not be older than the call.
// Get's error wraps account.ErrNotFound, ErrForbidden or ErrBusy; any other one is
// taken as passing.
type accounts interface {
	Get(ctx context.Context, namespace, name string) (inject.Account, error)
}

// Handler answers AdmissionReviews of pod creations.
type Handler struct {
	Accounts accounts
	Settings inject.Settings
	Metrics  *Metrics
	// Logger gets one line for each admission at debug level, and denials,
	// warnings and failures above it. Never a pod, never a token.
	Logger *slog.Logger
	// Now defaults to time.Now.
	Now func() time.Time
}

// mostBody is above what the API server lets through for one object (3 MiB).
const mostBody = 4 << 20

// outcome is what happened to one request, for metrics and log.
type outcome struct {
	kind   string // injected, unchanged, denied, failed, busy, malformed
	reason string
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := h.Now
	if now == nil {
		now = time.Now
	}
	start := now()
	body, code, err := readBody(w, r)
	var rev *review
	if err == nil {
		code = http.StatusBadRequest
		rev, err = parseReview(body)
	}
	if err != nil {
		h.Metrics.count(outcome{"malformed", ""})
		h.Logger.Warn("refused a request that is no pod creation", "status", code, "error", err)
		http.Error(w, err.Error(), code)
		return
	}
	namespace := rev.Request.Namespace
	answer, did := h.admit(r.Context(), rev.Request)
	rev.answer(answer)
	raw, err := json.Marshal(rev)
	if err != nil {
		h.Logger.Error("encode the answer", "error", err)
		http.Error(w, "the answer can't be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(raw) // the API server has gone: it will ask again if it cares
	h.Metrics.observe(namespace, now().Sub(start))
	h.Metrics.count(did)
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, int, error) {
	if r.Method != http.MethodPost {
		return nil, http.StatusMethodNotAllowed, errors.New("send an AdmissionReview by POST")
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, http.StatusUnsupportedMediaType, errors.New("send an AdmissionReview as application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
	if err == nil {
		return body, http.StatusOK, nil
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("the body is larger than %d bytes", mostBody)
	}
	return nil, http.StatusBadRequest, errors.New("the body ended early")
}

// admit decides on one pod.
func (h *Handler) admit(ctx context.Context, req *request) (response, outcome) {
	pod, err := inject.Parse(req.Object)
	if err != nil {
		h.Logger.Warn("pod can't be read", "namespace", req.Namespace, "pod", req.Name, "error", err)
		return deny(http.StatusBadRequest, "BadRequest", err.Error()), outcome{"malformed", "pod"}
	}
	log := h.Logger.With("namespace", req.Namespace, "pod", pod.Name(), "serviceAccount", pod.ServiceAccountName())
	if !pod.OptedIn() {
		log.Debug("pod left alone: not opted in")
		return response{Allowed: true}, outcome{"unchanged", "not-opted-in"}
	}
	sa, err := h.Accounts.Get(ctx, req.Namespace, pod.ServiceAccountName())
	if err != nil {
		return h.accountFailure(log, err)
	}
	res := pod.Inject(sa, h.Settings)
	for _, warning := range res.Warnings {
		h.Metrics.warn(warning.Reason)
		log.Info("warned", "reason", warning.Reason, "warning", warning.Message)
	}
	if res.Denial != nil {
		log.Info("denied", "reason", res.Denial.Reason, "message", res.Denial.Message)
		return deny(http.StatusBadRequest, "BadRequest", res.Denial.Message), outcome{"denied", string(res.Denial.Reason)}
	}
	answer, err := patchResponse(res)
	if err != nil {
		log.Error("failed", "error", err)
		return deny(http.StatusInternalServerError, "InternalError", err.Error()), outcome{"failed", "encode"}
	}
	if len(res.Patch) == 0 {
		log.Debug("pod left alone: nothing to add")
		return answer, outcome{"unchanged", "complete"}
	}
	log.Debug("injected", "operations", len(res.Patch))
	return answer, outcome{"injected", ""}
}

// accountFailure refuses a pod whose service account could not be read: without
// it the pod would start with no identity or a wrong one.
func (h *Handler) accountFailure(log *slog.Logger, err error) (response, outcome) {
	switch {
	case errors.Is(err, account.ErrNotFound):
		log.Info("denied", "reason", "account-not-found")
		return deny(http.StatusForbidden, "Forbidden", "the pod's service account does not exist: create it first"), outcome{"denied", "account-not-found"}
	case errors.Is(err, account.ErrForbidden):
		log.Error("service accounts can't be read", "error", err)
		return deny(http.StatusInternalServerError, "InternalError", "the webhook may not read service accounts: its ClusterRole lacks get on serviceaccounts"), outcome{"failed", "account-forbidden"}
	case errors.Is(err, account.ErrBusy):
		log.Warn("busy", "error", err)
		a := deny(http.StatusTooManyRequests, "TooManyRequests", "the workload identity webhook has too many pods to admit at once: try again in a second")
		a.Result.Details = &details{RetryAfterSeconds: 1}
		return a, outcome{"busy", "account-reads"}
	}
	log.Error("service account can't be read", "error", err)
	a := deny(http.StatusServiceUnavailable, "ServiceUnavailable", "the pod's service account could not be read in time: try again in a second")
	a.Result.Details = &details{RetryAfterSeconds: 1}
	return a, outcome{"failed", "account-read"}
}

func deny(code int, reason, message string) response {
	return response{Result: &status{Status: "Failure", Code: code, Reason: reason, Message: message}}
}
