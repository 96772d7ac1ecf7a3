package authority

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"azwi/internal/kube"
)

// A store stands for the API server where only the clock matters, as a bubble of
// synctest can't have a network: test/authority has the real one. It keeps versions,
// refuses outdated writes and tells watchers.
type store struct {
	keysTaken atomic.Uint64

	mu       sync.Mutex
	away     bool
	held     chan struct{} // if set, the configuration is answered once it is closed
	version  int
	data     map[string][]byte
	bundles  [][]byte
	writes   map[string]int
	watchers map[chan struct{}]bool
}

func newStore() *store {
	return &store{data: map[string][]byte{}, bundles: make([][]byte, 1), writes: map[string]int{}, watchers: map[chan struct{}]bool{}}
}

func (s *store) client() *kube.Client {
	return &kube.Client{Host: "https://store", HTTP: &http.Client{Transport: s}}
}

var errAway = errors.New("connection refused")

func (s *store) RoundTrip(r *http.Request) (*http.Response, error) {
	secret := strings.Contains(r.URL.Path, "/secrets")
	s.mu.Lock()
	defer s.mu.Unlock()
	if held := s.held; held != nil && !secret {
		s.mu.Unlock()
		<-held
		s.mu.Lock()
	}
	if s.away {
		return nil, errAway
	}
	switch {
	case r.URL.Query().Get("watch") != "":
		return s.watch(r)
	case r.Method == http.MethodGet && secret:
		return answer(200, map[string]any{"metadata": s.metadata(), "data": s.data})
	case r.Method == http.MethodGet:
		var webhooks []any
		for _, b := range s.bundles {
			webhooks = append(webhooks, map[string]any{"clientConfig": map[string]any{"caBundle": b}})
		}
		return answer(200, map[string]any{"metadata": s.metadata(), "webhooks": webhooks})
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	current := strconv.Itoa(s.version)
	if secret {
		var patch struct {
			Metadata struct{ ResourceVersion string }
			Data     map[string][]byte
		}
		if err := json.Unmarshal(body, &patch); err != nil {
			return nil, err
		}
		if patch.Metadata.ResourceVersion != current {
			return answer(409, nil)
		}
		s.data = patch.Data
		s.changed("secret")
		return answer(200, map[string]any{"metadata": s.metadata()})
	}
	var patch []struct{ Op, Path, Value string }
	if err := json.Unmarshal(body, &patch); err != nil {
		return nil, err
	}
	for _, p := range patch {
		switch p.Op {
		case "test":
			if p.Value != current {
				return answer(422, nil)
			}
		case "add":
			i, err := strconv.Atoi(strings.Split(p.Path, "/")[2])
			if err != nil {
				return nil, err
			}
			if s.bundles[i], err = base64.StdEncoding.DecodeString(p.Value); err != nil {
				return nil, err
			}
		}
	}
	s.changed("configuration")
	return answer(200, map[string]any{"metadata": s.metadata()})
}

func (s *store) metadata() any { return map[string]any{"resourceVersion": strconv.Itoa(s.version)} }

// changed is called with the lock.
func (s *store) changed(object string) {
	s.version++
	s.writes[object]++
	for w := range s.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// watch tells of the change of either object, beginning with one.
func (s *store) watch(r *http.Request) (*http.Response, error) {
	events := make(chan struct{}, 1)
	events <- struct{}{}
	s.watchers[events] = true
	reader, writer := io.Pipe()
	go func() {
		seconds, _ := strconv.Atoi(r.URL.Query().Get("timeoutSeconds"))
		end := time.NewTimer(time.Duration(seconds) * time.Second)
		defer end.Stop()
		defer writer.Close()
		defer func() { s.mu.Lock(); delete(s.watchers, events); s.mu.Unlock() }()
		for {
			select {
			case <-events:
				if _, err := io.WriteString(writer, `{"type":"MODIFIED"}`+"\n"); err != nil {
					return
				}
			case <-end.C:
				return
			case <-r.Context().Done():
				return
			}
		}
	}()
	return &http.Response{StatusCode: http.StatusOK, Body: reader, Header: http.Header{}}, nil
}

func answer(code int, object any) (*http.Response, error) {
	raw, err := json.Marshal(object)
	return &http.Response{StatusCode: code, Body: io.NopCloser(bytes.NewReader(raw)), Header: http.Header{}}, err
}

// set changes the Secret from outside, as another program.
func (s *store) set(data map[string][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = data
	s.changed("secret from outside")
}

func (s *store) setAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

// look returns what is stored and the number of writes.
func (s *store) look() (m material, bundle []*x509.Certificate, secretWrites, bundleWrites int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return material{s.data[caCertKey], s.data[caKeyKey], s.data[certKey], s.data[keyKey]},
		certificates(s.bundles[0]), s.writes["secret"], s.writes["configuration"]
}

func (m material) data() map[string][]byte {
	return map[string][]byte{caCertKey: m.caCert, caKeyKey: m.caKey, certKey: m.cert, keyKey: m.key}
}

// accepted fails the test if a caller with that bundle refuses one of the replicas.
func accepted(t *testing.T, bundle []*x509.Certificate, replicas ...*Authority) {
	t.Helper()
	for i, a := range replicas {
		served, err := a.Current()
		if err != nil {
			t.Fatalf("replica %d: %v", i, err)
		}
		if err := a.rules.verify(served, bundle, time.Now()); err != nil {
			t.Fatalf("replica %d is refused at %s: %v", i, time.Now(), err)
		}
	}
}
