package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"azwi/internal/admission/account"
	"azwi/internal/finding"
	"azwi/internal/pod/inject"
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
	// Memory is how much the process may use, in bytes. Requests that need more than
	// ordinary ones share three sixteenths of it, and at least 12 MiB. Defaults to 64 MiB.
	Memory int64
	// Now defaults to time.Now.
	Now func() time.Time

	once     sync.Once
	budget   *semaphore.Weighted
	refusals rate.Sometimes
}

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
	memory := &claim{budget: h.shared()}
	defer memory.release()
	body, code, err := readBody(w, r, memory)
	var rev *review
	if err == nil {
		code = http.StatusBadRequest
		rev, err = parseReview(body)
	}
	if err != nil {
		h.refuse(w, code, err)
		return
	}
	pod := inject.Measure(rev.Request.Object)
	if !pod.Unlabelled {
		if err := memory.need(r.Context(), int64(len(body))+pod.Memory(h.Settings, inject.Account{})); err != nil {
			h.refuse(w, http.StatusTooManyRequests, err)
			return
		}
	}
	conn := connectionOf(r.Context())
	conn.begin()
	defer conn.end(true)
	answer, did := response{Allowed: true}, outcome{"unchanged", "not-opted-in"}
	namespace := rev.Request.Namespace
	if pod.Unlabelled {
		h.Logger.Debug("pod left alone: not opted in", "namespace", namespace, "pod", rev.Request.Name)
	} else if answer, did, err = h.admit(r.Context(), rev.Request, pod, memory); err != nil {
		h.refuse(w, http.StatusTooManyRequests, err)
		return
	}
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

// shared is the memory for requests that need more than freeMemory.
func (h *Handler) shared() *semaphore.Weighted {
	h.once.Do(func() {
		h.budget = semaphore.NewWeighted(max(largest, cmp.Or(h.Memory, defaultMemory)*3/16))
		h.refusals = rate.Sometimes{First: 10, Interval: time.Second} // whoever may call can't fill the disk
	})
	return h.budget
}

// refuse answers a request that gets no review. The API server sends a request that
// is refused for want of memory again by itself, until its own time is up.
func (h *Handler) refuse(w http.ResponseWriter, code int, err error) {
	did := outcome{"malformed", ""}
	if code == http.StatusTooManyRequests {
		did = outcome{"busy", "memory"}
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Connection", "close")
	h.Metrics.count(did)
	h.refusals.Do(func() { h.Logger.Warn("refused a request", "outcome", did.kind, "status", code, "error", err) })
	http.Error(w, err.Error(), code)
}

// admit decides on one pod that may be opted in. The error is errBusy.
func (h *Handler) admit(ctx context.Context, req *request, outline inject.Outline, memory *claim) (response, outcome, error) {
	pod, err := inject.Parse(req.Object)
	if err != nil {
		h.Logger.Warn("pod can't be read", "namespace", req.Namespace, "pod", req.Name, "error", err)
		if limit, ok := errors.AsType[*inject.LimitError](err); ok {
			return deny(http.StatusBadRequest, "BadRequest", limit.Error()), outcome{"denied", string(finding.CodePodTooLarge)}, nil
		}
		return deny(http.StatusBadRequest, "BadRequest", err.Error()), outcome{"malformed", "pod"}, nil
	}
	log := h.Logger.With("namespace", req.Namespace, "pod", pod.Name(), "serviceAccount", pod.ServiceAccountName())
	if !pod.OptedIn() {
		log.Debug("pod left alone: not opted in")
		return response{Allowed: true}, outcome{"unchanged", "not-opted-in"}, nil
	}
	sa, err := h.Accounts.Get(ctx, req.Namespace, pod.ServiceAccountName())
	if err != nil {
		answer, did := h.accountFailure(log, err)
		return answer, did, nil
	}
	if err := memory.need(ctx, int64(len(req.Object))+outline.Memory(h.Settings, sa)); err != nil {
		return response{}, outcome{}, err
	}
	answer, did := h.inject(log, pod, sa)
	return answer, did, nil
}

// inject decides on one pod that is opted in.
func (h *Handler) inject(log *slog.Logger, pod *inject.Pod, sa inject.Account) (response, outcome) {
	res := pod.Inject(sa, h.Settings)
	for _, warning := range res.Warnings {
		h.Metrics.warn(warning.Code())
		log.Info("warned", "reason", warning.Code(), "warning", warning.Text())
	}
	if res.Denial != nil {
		log.Info("denied", "reason", res.Denial.Code(), "message", res.Denial.Text())
		return deny(http.StatusBadRequest, "BadRequest", res.Denial.Text()), outcome{"denied", string(res.Denial.Code())}
	}
	answer, err := patchResponse(res)
	if errors.Is(err, errPatchTooLarge) {
		log.Info("denied", "reason", finding.CodePodTooLarge, "message", err.Error())
		return deny(http.StatusBadRequest, "BadRequest", err.Error()), outcome{"denied", string(finding.CodePodTooLarge)}
	}
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
		return deny(http.StatusForbidden, "Forbidden", finding.PodAccountMissing().Text()), outcome{"denied", "account-not-found"}
	case errors.Is(err, account.ErrForbidden):
		log.Error("service accounts can't be read", "error", err)
		return deny(http.StatusInternalServerError, "InternalError", finding.AccountsNotGranted().Text()), outcome{"failed", "account-forbidden"}
	case errors.Is(err, account.ErrBusy):
		log.Warn("busy", "error", err)
		a := deny(http.StatusTooManyRequests, "TooManyRequests", finding.WebhookBusy().Text())
		a.Result.Details = &details{RetryAfterSeconds: 1}
		return a, outcome{"busy", "account-reads"}
	}
	log.Error("service account can't be read", "error", err)
	a := deny(http.StatusServiceUnavailable, "ServiceUnavailable", finding.AccountNotRead().Text())
	a.Result.Details = &details{RetryAfterSeconds: 1}
	return a, outcome{"failed", "account-read"}
}

func deny(code int, reason, message string) response {
	return response{Result: &status{Status: "Failure", Code: code, Reason: reason, Message: message}}
}
