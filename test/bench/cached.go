package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"azwi/contract"
	"azwi/internal/admission/account"
	"azwi/internal/admission/webhook"
	"azwi/internal/pod/inject"
)

// cacheArgument makes this binary the alternative that was decided against: our
// handler on a watch of all service accounts, metadata alone, with everything but
// our own annotations stripped, and a live read where the cache has nothing.
const cacheArgument = "serve-cached"

func serveCached(args []string, stderr io.Writer) int {
	fs := flag.NewFlagSet(cacheArgument, flag.ContinueOnError)
	certs := fs.String("certs", "", "folder of tls.crt and tls.key")
	kubeconfig := fs.String("kubeconfig", "", "")
	if fs.Parse(args) != nil {
		return 2
	}
	accounts, err := newCachedAccounts(context.Background(), *kubeconfig)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return serveHandler(*certs, stderr, &webhook.Handler{
		Accounts: accounts, Metrics: webhook.NewMetrics(), Logger: slog.New(slog.DiscardHandler),
		Settings: inject.Settings{TenantID: "t", AuthorityHost: "https://login.microsoftonline.com/"},
	})
}

type cachedAccounts struct {
	store cache.GenericLister
	live  *account.Reader
}

func newCachedAccounts(ctx context.Context, kubeconfig string) (*cachedAccounts, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	live, err := account.NewReader(account.Config{Client: client, Host: config.Host})
	if err != nil {
		return nil, err
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	informer := metadatainformer.NewSharedInformerFactory(meta, 0).ForResource(schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"})
	if err := informer.Informer().SetTransform(strip); err != nil {
		return nil, err
	}
	go informer.Informer().RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.Informer().HasSynced) {
		return nil, ctx.Err()
	}
	return &cachedAccounts{store: informer.Lister(), live: live}, nil
}

func strip(o any) (any, error) {
	m, ok := o.(*metav1.PartialObjectMetadata)
	if !ok {
		return o, nil
	}
	kept := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name, ResourceVersion: m.ResourceVersion}}
	for key, value := range m.Annotations {
		if strings.HasPrefix(key, contract.Prefix) {
			if kept.Annotations == nil {
				kept.Annotations = map[string]string{}
			}
			kept.Annotations[key] = value
		}
	}
	return kept, nil
}

func (c *cachedAccounts) Get(ctx context.Context, namespace, name string) (inject.Account, error) {
	o, err := c.store.ByNamespace(namespace).Get(name)
	if err != nil {
		return c.live.Get(ctx, namespace, name)
	}
	return inject.Account{Namespace: namespace, Name: name, Annotations: o.(*metav1.PartialObjectMetadata).Annotations}, nil
}
