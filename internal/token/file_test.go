package token_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"azwi/internal/token"
	"azwi/internal/token/entra"
)

// fill runs a source until its file is written, and returns the file.
func fill(t *testing.T, lifetime time.Duration) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	c := &cloud{life: lifetime}
	ctx, stop := context.WithCancel(t.Context())
	s, err := token.New(ctx, token.Config{Exchange: c.exchange, CacheFile: file})
	if err != nil {
		t.Fatal(err)
	}
	want(t, s, key("r"), "r-1")
	synctest.Wait()
	stop()
	return file
}

func TestCacheFileServesARestartInAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		file := fill(t, day)
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("mode %s", info.Mode())
		}
		if others, err := os.ReadDir(filepath.Dir(file)); err != nil || len(others) != 1 {
			t.Errorf("%d files are left: %v", len(others), err)
		}
		pass(time.Hour)
		c := &cloud{err: errors.New("no route to host")}
		s := source(t, token.Config{Exchange: c.exchange, CacheFile: file})
		for range 22 {
			want(t, s, key("r"), "r-1")
			pass(time.Hour)
		}
		if got := want(t, s, key("r"), "r-1"); got.Remaining != time.Hour || !got.Stale {
			t.Errorf("remaining %s, stale %t", got.Remaining, got.Stale)
		}
		pass(time.Hour)
		_ = refused(t, s, key("r"))
	})
}

func TestCacheFileThatIsNoUse(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, file string){
		"missing": func(t *testing.T, file string) { check(t, os.Remove(file)) },
		"cut": func(t *testing.T, file string) {
			raw, err := os.ReadFile(file)
			check(t, err)
			check(t, os.WriteFile(file, raw[:len(raw)/2], 0o600))
		},
		"empty":            func(t *testing.T, file string) { check(t, os.WriteFile(file, nil, 0o600)) },
		"another version":  func(t *testing.T, file string) { edit(t, file, `"version":1`, `"version":2`) },
		"readable by all":  func(t *testing.T, file string) { check(t, os.Chmod(file, 0o644)) },
		"readable by some": func(t *testing.T, file string) { check(t, os.Chmod(file, 0o640)) },
		"a link": func(t *testing.T, file string) {
			check(t, os.Rename(file, file+"2"))
			check(t, os.Symlink(file+"2", file))
		},
		"a folder": func(t *testing.T, file string) {
			check(t, os.Remove(file))
			check(t, os.Mkdir(file, 0o700))
		},
		"expired":         func(*testing.T, string) { pass(day) },
		"from the future": func(t *testing.T, file string) { edit(t, file, `"issued":"2000`, `"issued":"2999`) },
		"of a week":       func(t *testing.T, file string) { edit(t, file, `"expires":"2000-01-02`, `"expires":"2000-01-12`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				file := fill(t, day)
				spoil(t, file)
				c := &cloud{}
				s := source(t, token.Config{Exchange: c.exchange, CacheFile: file})
				want(t, s, key("r"), "r-1")
				if c.count() != 1 {
					t.Error("the token came from the file")
				}
				synctest.Wait()
			})
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, file, old, replacement string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	check(t, err)
	if !strings.Contains(string(raw), old) {
		t.Fatalf("%s has no %s", raw, old)
	}
	check(t, os.WriteFile(file, []byte(strings.ReplaceAll(string(raw), old, replacement)), 0o600))
}

// A file that can't be written costs nothing but the file.
func TestCacheFileThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		s := source(t, token.Config{Exchange: c.exchange, CacheFile: filepath.Join(t.TempDir(), "no", "such", "folder")})
		want(t, s, key("r"), "r-1")
		synctest.Wait()
	})
}

// Whatever the file holds: nothing in it is served past its expiry, and a file
// that this program would not write is not believed.
func FuzzCacheFile(f *testing.F) {
	good, err := json.Marshal(map[string]any{"version": 1, "tokens": []any{map[string]any{
		"authority": "a", "tenantID": "t", "clientID": "c", "resource": "r", "type": "Bearer", "value": "v",
		"issued": "2026-01-01T00:00:00Z", "refreshAt": "2026-01-01T12:00:00Z", "expires": "2026-01-02T00:00:00Z",
	}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"tokens":[{}]}`))
	f.Add([]byte("null"))
	now := time.Date(2026, 1, 1, 6, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, raw []byte) {
		file := filepath.Join(t.TempDir(), "tokens")
		check(t, os.WriteFile(file, raw, 0o600))
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		s, err := token.New(ctx, token.Config{
			CacheFile: file, Now: func() time.Time { return now },
			Exchange: func(context.Context, token.Key) (entra.Token, error) { return entra.Token{}, entra.ErrAssertion },
		})
		check(t, err)
		var saved struct {
			Tokens []struct {
				token.Key
				Value           string
				Issued, Expires time.Time
			}
		}
		if json.Unmarshal(raw, &saved) != nil {
			if _, ok := s.Soonest(); ok {
				t.Fatal("a token out of a damaged file")
			}
			return
		}
		for _, k := range saved.Tokens {
			got, err := s.Get(ctx, k.Key)
			if err != nil {
				continue
			}
			found := false
			for _, other := range saved.Tokens {
				found = found || other.Key == k.Key && other.Value == got.Value && other.Expires.Sub(now) > 0 &&
					!other.Issued.After(now) && other.Expires.Sub(now) >= got.Remaining
			}
			if !found || got.Value == "" {
				t.Fatalf("served %q, good for %s", got.Value, got.Remaining)
			}
		}
	})
}
