package random

import (
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// A Source is safe for concurrent use.
type Source struct {
	mu sync.Mutex
	r  *rand.Rand
}

// New returns the stream called name of a seed. Streams of different names are
// independent, so that one more request to one part changes nothing in another.
func New(seed uint64, name string) *Source {
	h := fnv.New64a()
	h.Write([]byte(name))
	return &Source{r: rand.New(rand.NewPCG(seed, h.Sum64()))}
}

// IntN is uniform in [0, n).
func (s *Source) IntN(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.IntN(n)
}

// Duration is uniform in [low, high]; it is low when high is not larger.
func (s *Source) Duration(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return low + time.Duration(s.r.Int64N(int64(high-low)+1))
}

// Hit is true with the given probability.
func (s *Source) Hit(probability float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Float64() < probability
}
