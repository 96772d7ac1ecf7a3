package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"azwi/internal/atomicfile"
	"azwi/internal/token/entra"
)

// The cache file. Times are by the wall clock, as nothing else survives a
// restart.
type savedFile struct {
	Version int          `json:"version"`
	Tokens  []savedToken `json:"tokens"`
}

type savedToken struct {
	Key
	Type      string    `json:"type"`
	Value     string    `json:"value"`
	Issued    time.Time `json:"issued"`
	RefreshAt time.Time `json:"refreshAt"`
	Expires   time.Time `json:"expires"`
}

const (
	savedVersion = 1
	// maxSaved bounds the file, in bytes.
	maxSaved = 16 << 20
	// maxLife bounds what a file may say of a token. Entra gives 28 hours at most.
	maxLife = 7 * 24 * time.Hour
)

// load takes the tokens of the cache file that are still good. A file that is
// damaged or that others can read is not used.
func (s *Source) load() {
	saved, err := readSaved(s.config.CacheFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		s.config.Logger.Warn("the cache file is not used", "file", s.config.CacheFile, "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	elapsed, wall := s.config.Elapsed(), s.config.Now()
	for _, t := range saved.Tokens {
		life, left := t.Expires.Sub(t.Issued), t.Expires.Sub(wall)
		// One from the future tells of a clock that was changed.
		if t.Value == "" || t.ClientID == "" || life <= 0 || life > maxLife || left <= 0 || left > life || len(s.entries) >= s.config.MaxTokens {
			continue
		}
		e := &entry{
			key: t.Key, token: entra.Token{Type: t.Type, Value: t.Value, Lifetime: life},
			expires: elapsed + left, refresh: elapsed + min(max(t.RefreshAt.Sub(wall), 0), left),
			used: true, again: true, lastUsed: elapsed,
		}
		e.issued = e.expires - life
		s.entries[t.Key] = e
		if elapsed >= e.refresh {
			s.renew(e, elapsed)
		} else {
			s.schedule(e, elapsed)
		}
	}
	s.config.Logger.Info("cache file read", "file", s.config.CacheFile, "tokens", len(s.entries))
}

func readSaved(name string) (savedFile, error) {
	f, err := os.OpenFile(name, openFlags, 0)
	if err != nil {
		return savedFile{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return savedFile{}, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return savedFile{}, fmt.Errorf("its mode is %s: it must be a file for its owner alone", info.Mode())
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxSaved+1))
	if err != nil {
		return savedFile{}, err
	}
	return parseSaved(raw)
}

// parseSaved never quotes the file in its error.
func parseSaved(raw []byte) (savedFile, error) {
	var saved savedFile
	if len(raw) > maxSaved || json.Unmarshal(raw, &saved) != nil {
		return savedFile{}, errors.New("it is damaged")
	}
	if saved.Version != savedVersion {
		return savedFile{}, fmt.Errorf("its version is %d, not %d", saved.Version, savedVersion)
	}
	return saved, nil
}

// save writes the tokens that are good, in place of the file at once.
func (s *Source) save() {
	s.saving.Lock()
	defer s.saving.Unlock()
	saved := savedFile{Version: savedVersion}
	s.mu.Lock()
	elapsed, wall := s.config.Elapsed(), s.config.Now().Round(0)
	for _, e := range s.entries {
		if e.good(elapsed) {
			saved.Tokens = append(saved.Tokens, savedToken{
				Key: e.key, Type: e.token.Type, Value: e.token.Value,
				Issued: wall.Add(e.issued - elapsed), RefreshAt: wall.Add(e.refresh - elapsed), Expires: wall.Add(e.expires - elapsed),
			})
		}
	}
	s.mu.Unlock()
	if err := writeFile(s.config.CacheFile, saved); err != nil {
		s.config.Logger.Warn("the cache file can't be written", "file", s.config.CacheFile, "error", err)
	}
}

func writeFile(name string, content any) error {
	raw, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return atomicfile.Write(name, raw, 0o600)
}
