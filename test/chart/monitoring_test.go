package chart_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metricsql"
	"sigs.k8s.io/yaml"

	"azwi/contract"
	"azwi/test/cluster"
	"azwi/test/product"
)

// TestQueries: the dashboard's and the alerts' queries can be read, and ask for
// metrics and labels that a webhook at work, or the API server, really has.
func TestQueries(t *testing.T) {
	c := control.Start(t)
	h := newHelm(t)
	dir := t.TempDir()
	binary, err := product.Build(t.Context(), dir, "azwi-webhook", false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	webhook, err := product.StartWebhook(ctx, product.WebhookConfig{Cluster: c, Binary: binary, Dir: dir, User: h.namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := webhook.Stop(20 * time.Second); err != nil {
			t.Error(err)
		}
	})
	if err := product.Register(ctx, c, product.Registration{Name: h.namespace, Addr: webhook.Addr, Namespaces: []string{h.namespace}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		path := strings.TrimSuffix(webhookPath, contract.WebhookConfiguration) + h.namespace
		if _, err := c.Admin.Do(context.WithoutCancel(t.Context()), "DELETE", path, nil, nil); err != nil {
			t.Error(err)
		}
	})
	// A pod with a warning was created by Register; this one is denied.
	denied := object{
		"metadata": object{
			"name": "denied", "labels": object{contract.UseLabel: contract.UseLabelValue},
			"annotations": object{contract.TokenExpirationAnnotation: "1"},
		},
		"spec": object{"containers": []object{{"name": "app", "image": "app:1"}}},
	}
	if _, err := c.Admin.Do(ctx, "POST", "/api/v1/namespaces/"+h.namespace+"/pods", denied, nil); err == nil {
		t.Fatal("the pod was not denied")
	}
	failOpen(ctx, t, c, h.namespace)
	have := scrape(ctx, t, http.DefaultClient, "http://"+webhook.MetricsAddr+"/metrics")
	for name, labels := range scrape(ctx, t, c.Admin.HTTP, c.URL+"/metrics") {
		if strings.HasPrefix(name, "apiserver_admission_webhook_") {
			have[name] = labels
		}
	}
	// Not ours to test: kube-state-metrics, which the alerts' users have.
	have["kube_deployment_status_replicas_available"] = map[string]bool{"deployment": true}
	alerts := alertQueries(t)
	for _, failure := range []string{"rejection_count", "fail_open_count"} { // with failurePolicy Fail, and with Ignore
		if !strings.Contains(strings.Join(alerts, "\n"), "apiserver_admission_webhook_"+failure) {
			t.Errorf("no alert asks for %s", failure)
		}
	}
	queries := append(dashboardQueries(t), alerts...)
	if len(queries) < 15 {
		t.Errorf("only %d queries", len(queries))
	}
	for _, q := range queries {
		checkQuery(t, q, have)
	}
}

// failOpen has the API server let a pod pass a webhook that it can't reach.
func failOpen(ctx context.Context, t *testing.T, c *cluster.Cluster, namespace string) {
	t.Helper()
	name := namespace + "-ignore"
	configurations := strings.TrimSuffix(webhookPath, "/"+contract.WebhookConfiguration)
	unreachable := object{"metadata": object{"name": name}, "webhooks": []object{{
		"name": contract.WebhookName, "admissionReviewVersions": []string{"v1"}, "sideEffects": "None", "failurePolicy": "Ignore",
		"clientConfig":   object{"url": "https://127.0.0.1:1/"},
		"objectSelector": object{"matchLabels": object{"test": name}},
		"rules":          []object{{"apiGroups": []string{""}, "apiVersions": []string{"v1"}, "operations": []string{"CREATE"}, "resources": []string{"pods"}}},
	}}}
	if _, err := c.Admin.Do(ctx, "POST", configurations, unreachable, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := c.Admin.Do(context.WithoutCancel(ctx), "DELETE", configurations+"/"+name, nil, nil); err != nil {
			t.Error(err)
		}
	})
	pod := object{
		"metadata": object{"name": "open", "labels": object{"test": name}},
		"spec":     object{"containers": []object{{"name": "app", "image": "app:1"}}},
	}
	for { // until the API server knows of the webhook
		if _, err := c.Admin.Do(ctx, "POST", "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", pod, nil); err != nil {
			t.Fatal(err)
		}
		if scrape(ctx, t, c.Admin.HTTP, c.URL+"/metrics")["apiserver_admission_webhook_fail_open_count"] != nil {
			return
		}
	}
}

// scrape returns the labels of each metric.
func scrape(ctx context.Context, t *testing.T, client *http.Client, url string) map[string]map[string]bool {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	found := map[string]map[string]bool{}
	line := regexp.MustCompile(`^([a-z_:]+)(?:\{(.*)\})? `)
	label := regexp.MustCompile(`([a-z_]+)="`)
	lines := bufio.NewReader(response.Body)
	for {
		text, err := lines.ReadString('\n')
		if m := line.FindStringSubmatch(text); m != nil {
			if found[m[1]] == nil {
				found[m[1]] = map[string]bool{}
			}
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				found[m[1]][l[1]] = true
			}
		}
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func dashboardQueries(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(chartDir + "/files/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	var queries []string
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			queries = append(queries, strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")) // as Grafana does
		}
	}
	return queries
}

func alertQueries(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(chartDir + "/files/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var alerts struct {
		Groups []struct{ Rules []struct{ Expr string } }
	}
	if err := yaml.Unmarshal(text, &alerts); err != nil {
		t.Fatal(err)
	}
	var queries []string
	for _, g := range alerts.Groups {
		for _, r := range g.Rules {
			queries = append(queries, r.Expr)
		}
	}
	return queries
}

func checkQuery(t *testing.T, query string, have map[string]map[string]bool) {
	t.Helper()
	parsed, err := metricsql.Parse(query)
	if err != nil {
		t.Errorf("%s: %v", query, err)
		return
	}
	labels := map[string]bool{}
	grouped := map[string]bool{}
	metrics := 0
	metricsql.VisitAll(parsed, func(e metricsql.Expr) {
		switch e := e.(type) {
		case *metricsql.MetricExpr:
			for _, filters := range e.LabelFilterss {
				name := ""
				for _, f := range filters {
					if f.Label == "__name__" {
						name = f.Value
						continue
					}
					if !have[name][f.Label] {
						t.Errorf("%s: %s has no label %s", query, name, f.Label)
					}
				}
				if name == "" {
					continue
				}
				metrics++
				if have[name] == nil {
					t.Errorf("%s: there is no metric %s", query, name)
				}
				for l := range have[name] {
					labels[l] = true
				}
			}
		case *metricsql.AggrFuncExpr:
			for _, l := range e.Modifier.Args {
				grouped[l] = true
			}
		}
	})
	if metrics == 0 {
		t.Errorf("%s: asks for no metric", query)
	}
	for l := range grouped {
		if !labels[l] && l != "instance" { // Prometheus' own
			t.Errorf("%s: groups by %s, which none of its metrics has", query, l)
		}
	}
}
