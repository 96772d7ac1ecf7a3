package doctor_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"azwi/contract"
)

var scale = flag.Bool("scale", false, "measure azwi doctor on 2,000 pods, as make bench does")

// TestScale measures azwi doctor -A on a large cluster, and on one Deployment. With a rate
// of 0, Azure's limits are off.
func TestScale(t *testing.T) {
	if !*scale {
		t.Skip("make bench measures it")
	}
	const identities, accounts, podsOfEach, missing = 300, 500, 4, 7
	w := newWorld(t)
	namespace, err := w.c.NewNamespace(t.Context(), "scale")
	if err != nil {
		t.Fatal(err)
	}
	credentials := make([][]any, identities)
	for i := range accounts {
		name := fmt.Sprintf("account-%d", i)
		if i >= missing { // the others have none
			credentials[i%identities] = append(credentials[i%identities], object{"name": name, "issuer": w.c.Issuer, "subject": contract.Subject(namespace, name)})
		}
	}
	var managed []any
	for i := range identities {
		managed = append(managed, object{"name": fmt.Sprintf("identity-%d", i), "clientId": idOf(i), "federatedCredentials": credentials[i]})
	}
	var group errgroup.Group
	const parallel = 16
	group.SetLimit(parallel)
	for i := range accounts {
		group.Go(func() error {
			name, base := fmt.Sprintf("account-%d", i), "/api/v1/namespaces/"+namespace
			_, err := w.c.Admin.Do(t.Context(), http.MethodPost, base+"/serviceaccounts", object{"metadata": object{
				"name": name, "annotations": object{contract.ClientIDAnnotation: idOf(i % identities)},
			}}, nil)
			for j := range podsOfEach {
				if err != nil {
					return err
				}
				_, err = w.c.Admin.Do(t.Context(), http.MethodPost, base+"/pods", object{
					"metadata": object{"name": fmt.Sprintf("%s-%d", name, j), "labels": object{contract.UseLabel: "true"}},
					"spec":     object{"serviceAccountName": name, "containers": []any{object{"name": "app", "image": "app:1"}}},
				}, nil)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	at := w.machine(t, namespace, mistake{Seed: object{"managedIdentities": managed}})
	for _, args := range [][]string{
		{"doctor", "-A", "--reads-per-second=0", "-o", "json"},
		{"doctor", "-A", "-o", "json"},
		{"doctor", "pod/account-100-0", "-n", namespace, "-o", "json"},
	} {
		cmd := exec.CommandContext(t.Context(), w.binary, args...)
		cmd.Env = at.env
		began := time.Now()
		out, err := cmd.Output()
		took := time.Since(began)
		usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		if !ok {
			t.Fatal(err)
		}
		var requests struct{ Requests []any }
		at.azure.Admin(t, http.MethodGet, "/requests", nil, &requests)
		at.azure.Admin(t, http.MethodPost, "/reset", nil, nil)
		t.Logf("%v: %s, %d MiB, requests to Azure: %d, exit code %d", args, took.Round(10*time.Millisecond), usage.Maxrss>>10, len(requests.Requests), cmd.ProcessState.ExitCode())
		if args[1] != "-A" {
			continue
		}
		var survey struct {
			Pods, ServiceAccounts, Identities int
			Causes                            []struct {
				Code  string
				Pods  int
				Cases []any
			}
		}
		if err := json.Unmarshal(out, &survey); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if survey.Pods != accounts*podsOfEach || survey.Identities != identities || len(survey.Causes) != 1 || len(survey.Causes[0].Cases) != missing || survey.Causes[0].Pods != missing*podsOfEach {
			t.Errorf("%+v", survey)
		}
	}
}

func idOf(i int) string { return fmt.Sprintf("dddddddd-0000-4000-8000-%012d", i) }
