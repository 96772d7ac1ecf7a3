package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// reads compares the protocols for the one small read that an admission needs.
func (b *bench) reads(ctx context.Context, namespace string) error {
	const rounds = 2000
	protocols := []*contender{{name: "HTTP/1.1"}, {name: "HTTP/2"}}
	clients := map[*contender]*http.Client{}
	for i, next := range [][]string{{"http/1.1"}, {"h2"}} {
		config, err := clientcmd.BuildConfigFromFlags("", b.control.Kubeconfig)
		if err != nil {
			return err
		}
		config.NextProtos = next
		if clients[protocols[i]], err = rest.HTTPClientFor(config); err != nil {
			return err
		}
	}
	url := b.control.URL + "/api/v1/namespaces/" + namespace + "/serviceaccounts/" + accountName(0)
	turns := slices.Clone(protocols)
	for i := range rounds + rounds/10 {
		rand.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
		for _, p := range turns {
			start := time.Now()
			if err := readOnce(ctx, clients[p], url); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			if i >= rounds/10 { // the first ones warm up
				p.times = append(p.times, time.Since(start))
			}
		}
	}
	b.say("\n## One read of a service account (%d each, taking turns)\n", rounds)
	for _, p := range protocols {
		slices.Sort(p.times)
		b.say("  %-10s p50 %.2f ms, p99 %.2f ms", p.name, ms(p.at(50)), ms(p.at(99)))
	}
	return nil
}

func readOnce(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answer %s", resp.Status)
	}
	return nil
}
