package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"azwi/contract"
	"azwi/test/process"
	"azwi/test/product"
)

type object = map[string]any

// A contender is one way to admit pods, each in a namespace of its own.
type contender struct {
	name      string
	namespace string
	arguments []string // of this binary, where it is the webhook
	silent    bool     // changes nothing in the pod
	addr      string   // empty: no webhook
	process   *process.Child
	times     []time.Duration
}

// webhooks measures admission: latency, throughput, memory, and why nothing is
// cached.
func (b *bench) webhooks(ctx context.Context) error {
	none := &contender{name: "no admission", namespace: "bench-none"}
	nothing := &contender{name: "webhook that does nothing", namespace: "bench-nothing", arguments: []string{nothingArgument}, silent: true}
	least := &contender{name: "webhook that adds one constant", namespace: "bench-least", arguments: []string{nothingArgument, "--mutate"}}
	ours := &contender{name: "azwi-webhook", namespace: "bench-ours"}
	cached := &contender{name: "the same on a stripped cache", namespace: "bench-cached", arguments: []string{cacheArgument, "--kubeconfig=" + b.control.Kubeconfig}}
	all := []*contender{none, nothing, least, ours, cached}
	for _, c := range all {
		if err := b.control.CreateNamespace(ctx, c.namespace); err != nil {
			return err
		}
		if err := b.createAccounts(ctx, c.namespace, 0, 1); err != nil {
			return err
		}
	}
	webhook, err := b.startOurs(ctx, "webhook")
	if err != nil {
		return err
	}
	defer webhook.Stop(5 * time.Second) //nolint:errcheck // it was measured; how it ends is for tests
	ours.addr, ours.process = webhook.Addr, webhook.Child
	idle := resident(ctx, ours.process)
	for _, c := range all {
		if c.arguments != nil {
			if err := b.startOwn(ctx, c); err != nil {
				return err
			}
			defer c.process.Stop(5 * time.Second) //nolint:errcheck // as above
		}
		if c.addr != "" {
			if err := b.register(ctx, c); err != nil {
				return err
			}
		}
	}
	if err := b.latency(ctx, all); err != nil {
		return err
	}
	b.say("")
	added := ours.at(50) - none.at(50)
	b.target("p50 added, times what the webhook that does nothing adds", ratio(added, nothing.at(50)-none.at(50)), 1.4, "")
	b.target("p50 added, times what the webhook that adds one constant adds", ratio(added, least.at(50)-none.at(50)), 1.4, "")
	b.target("p99, times that of the webhook that does nothing", ratio(ours.at(99), nothing.at(99)), 2, "")
	if err := b.reads(ctx, ours.namespace); err != nil {
		return err
	}
	if err := b.throughput(ctx, ours); err != nil {
		return err
	}
	if err := b.freshness(ctx, ours, cached); err != nil {
		return err
	}
	return b.memory(ctx, idle, ours, cached)
}

func (b *bench) startOurs(ctx context.Context, name string) (*product.Webhook, error) {
	dir := filepath.Join(b.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return product.StartWebhook(ctx, product.WebhookConfig{Cluster: b.control, Binary: filepath.Join(b.bin, "azwi-webhook"), Dir: dir})
}

// startOwn starts this binary again as one of the other contenders.
func (b *bench) startOwn(ctx context.Context, c *contender) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c.process, c.addr, err = product.StartServing(ctx, process.Config{
		Binary: self, Args: append(c.arguments, "--certs="+filepath.Join(b.dir, "webhook", "certs")),
	})
	return err
}

func (b *bench) register(ctx context.Context, c *contender) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return product.Register(ctx, b.control, product.Registration{
		Name: c.namespace, Addr: c.addr, Namespaces: []string{c.namespace}, Silent: c.silent,
	})
}

func (b *bench) createPod(ctx context.Context, namespace, account string) (raw json.RawMessage, took time.Duration, err error) {
	pod := object{
		"metadata": object{"generateName": "bench-", "labels": object{contract.UseLabel: contract.UseLabelValue}},
		"spec": object{"serviceAccountName": account, "containers": []object{
			{"name": "app", "image": "app:1", "env": []object{{"name": "MODE", "value": "web"}}}, {"name": "metrics", "image": "metrics:1"},
		}},
	}
	start := time.Now()
	_, err = b.control.Admin.Do(ctx, http.MethodPost, "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", pod, &raw)
	return raw, time.Since(start), err
}

// latency creates pods one after another, the contenders taking turns in an order
// drawn anew each time, so that the machine's moods hit all alike.
func (b *bench) latency(ctx context.Context, all []*contender) error {
	turns := slices.Clone(all)
	for i := range b.pods + b.pods/10 {
		rand.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
		for _, c := range turns {
			_, took, err := b.createPod(ctx, c.namespace, accountName(0))
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if i >= b.pods/10 { // the first ones warm up
				c.times = append(c.times, took)
			}
		}
	}
	b.say("\n## Pod creation on the API server (dry run, one client, %d pods each, taking turns)\n", b.pods)
	b.say("| admission | p50 ms | p95 ms | p99 ms | p50 added | p99 added |\n|---|---|---|---|---|---|")
	base := all[0]
	for _, c := range all {
		slices.Sort(c.times)
		b.say("| %s | %.2f | %.2f | %.2f | %.2f | %.2f |", c.name, ms(c.at(50)), ms(c.at(95)), ms(c.at(99)), ms(c.at(50)-base.at(50)), ms(c.at(99)-base.at(99)))
	}
	return nil
}

func (c *contender) at(percent int) time.Duration { return c.times[(len(c.times)-1)*percent/100] }
func ms(d time.Duration) float64                  { return float64(d.Microseconds()) / 1000 }
func ratio(a, b time.Duration) float64            { return float64(a) / float64(b) }

// throughput asks the webhook itself, with as many connections as an API server
// opens under load. The API server that it reads accounts from runs on the same
// cores, so the time that the webhook itself used is the figure for one core.
func (b *bench) throughput(ctx context.Context, ours *contender) error {
	const clients, requests = 16, 8000
	body := []byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","operation":"CREATE","namespace":"` + ours.namespace + `",` +
		`"resource":{"group":"","version":"v1","resource":"pods"},"object":{"metadata":{"generateName":"bench-","labels":{"azure.workload.identity/use":"true"}},` +
		`"spec":{"serviceAccountName":"` + accountName(0) + `","containers":[{"name":"app","image":"app:1","env":[{"name":"MODE","value":"web"}]},{"name":"metrics","image":"metrics:1"}]}}}}`)
	const accounts = 500 // so that few reads are shared
	if err := b.createAccounts(ctx, ours.namespace, 1, accounts); err != nil {
		return err
	}
	used, err := cpuTime(ours.process.PID())
	if err != nil {
		return err
	}
	start := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for range clients {
		g.Go(func() error {
			for range requests / clients {
				mine := bytes.Replace(body, []byte(accountName(0)), []byte(accountName(rand.IntN(accounts))), 1)
				if err := b.ask(ctx, "https://"+ours.addr+contract.WebhookPath, mine); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	took := time.Since(start)
	after, err := cpuTime(ours.process.PID())
	if err != nil {
		return err
	}
	each := (after - used) / requests
	b.say("\n## Throughput of azwi-webhook (%d clients, %d admissions, %d accounts, each read live)\n", clients, requests, accounts)
	b.say("  %.0f admissions/s seen, with load generator, API server and etcd on the same cores", requests/took.Seconds())
	b.say("  %.0f admissions/s on one core: %.3f ms of processor time each", 1/each.Seconds(), ms(each))
	return nil
}

func (b *bench) ask(ctx context.Context, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.control.Admin.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(`"allowed":true`)) {
		return fmt.Errorf("answer %d: %.200s", resp.StatusCode, answer)
	}
	return nil
}

// freshness changes an account and creates a pod at once, and counts the pods with
// the old identity.
func (b *bench) freshness(ctx context.Context, contenders ...*contender) error {
	const changes = 200
	b.say("\n## Pods with a stale identity, of %d created right after the change of their account was confirmed\n", changes)
	for _, c := range contenders {
		stale := 0
		for i := range changes {
			id := fmt.Sprintf("44444444-4444-4444-4444-%012d", i)
			patch := object{"metadata": object{"annotations": object{contract.ClientIDAnnotation: id}}}
			if _, err := b.control.Admin.Do(ctx, http.MethodPatch, "/api/v1/namespaces/"+c.namespace+"/serviceaccounts/"+accountName(0), patch, nil); err != nil {
				return err
			}
			raw, _, err := b.createPod(ctx, c.namespace, accountName(0))
			if err != nil {
				return err
			}
			if !bytes.Contains(raw, []byte(id)) {
				stale++
			}
		}
		b.say("  %-28s %d", c.name, stale)
		if c.name == "azwi-webhook" && stale > 0 {
			b.missed = append(b.missed, fmt.Sprintf("%d stale identities", stale))
		}
	}
	return nil
}

// memory is that of the webhook with many service accounts in the cluster, a tenth
// of them annotated: of one that has worked all the while, and of one started anew.
func (b *bench) memory(ctx context.Context, idle float64, ours, cached *contender) error {
	b.say("\n## Resident memory (MiB; accounts in the cluster, a tenth of them annotated)\n")
	fresh, worked, onCache := []float64{idle}, []float64{resident(ctx, ours.process)}, []float64{resident(ctx, cached.process)}
	from := 0
	if err := b.control.CreateNamespace(ctx, "bench-many"); err != nil {
		return err
	}
	for _, n := range []int{b.some, b.many} {
		if err := b.createAccounts(ctx, "bench-many", from, n); err != nil {
			return err
		}
		from = n
		for range 200 { // admissions go on all the while
			for _, c := range []*contender{ours, cached} {
				if _, _, err := b.createPod(ctx, c.namespace, accountName(0)); err != nil {
					return err
				}
			}
		}
		worked, onCache = append(worked, resident(ctx, ours.process)), append(onCache, resident(ctx, cached.process))
		anew, err := b.startOurs(ctx, fmt.Sprint("webhook-", n))
		if err != nil {
			return err
		}
		fresh = append(fresh, resident(ctx, anew.Child))
		if err := anew.Stop(5 * time.Second); err != nil {
			return err
		}
	}
	b.say("| accounts | few | %d | %d |\n|---|---|---|---|", b.some, b.many)
	b.say("| azwi-webhook, idle after its start | %.1f | %.1f | %.1f |", fresh[0], fresh[1], fresh[2])
	b.say("| azwi-webhook, after all of the above | %.1f | %.1f | %.1f |", worked[0], worked[1], worked[2])
	b.say("| the same on a stripped cache, likewise | %.1f | %.1f | %.1f |\n", onCache[0], onCache[1], onCache[2])
	b.target("memory idle", idle, 24, " MiB")
	b.target(fmt.Sprintf("memory idle with %d accounts, above that", b.many), fresh[2]-idle, 3, " MiB")
	b.target(fmt.Sprintf("memory of one that has worked, added by %d accounts", b.many), worked[2]-worked[0], 3, " MiB")
	return nil
}

func accountName(i int) string { return fmt.Sprintf("sa-%06d", i) }

// createAccounts creates accounts from up to, but not including, to.
func (b *bench) createAccounts(ctx context.Context, namespace string, from, to int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i := from; i < to; i++ {
		g.Go(func() error {
			annotations := object{"team": fmt.Sprintf("team-%d", i%50)}
			if i%10 == 0 {
				annotations[contract.ClientIDAnnotation] = fmt.Sprintf("22222222-2222-2222-2222-%012d", i)
			}
			_, err := b.control.Admin.Do(ctx, http.MethodPost, "/api/v1/namespaces/"+namespace+"/serviceaccounts", object{"metadata": object{
				"name": accountName(i), "annotations": annotations,
				"labels": object{"app.kubernetes.io/name": "app", "app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "app-1.2.3"},
			}}, nil)
			return err
		})
	}
	return g.Wait()
}

// resident is the resident memory of a process, in MiB, after a moment's rest.
func resident(ctx context.Context, p *process.Child) float64 {
	select {
	case <-time.After(2 * time.Second):
	case <-ctx.Done():
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			kib, _ := strconv.ParseFloat(fields[1], 64) // the kernel writes a number
			return kib / 1024
		}
	}
	return 0
}

// cpuTime is the processor time that a process has used, user and system.
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat: unknown form")
	}
	var ticks time.Duration
	for _, f := range fields[11:13] { // utime and stime, proc_pid_stat(5), in hundredths of a second
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond, nil
}
