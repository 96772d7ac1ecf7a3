package replication

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/random"
)

// Settings of the model.
type Settings struct {
	// Replicas is how many there are; 0 is 3.
	Replicas int
	// MinDelay and MaxDelay bound how long a replica takes to learn of a change.
	// Both 0 makes every change visible at once.
	MinDelay, MaxDelay time.Duration
	// MissMemory is how long a replica remembers a miss; 0 remembers none.
	MissMemory time.Duration
	// WriteTime is how long a write of a federated credential to a managed
	// identity takes; a second one meanwhile is refused.
	WriteTime time.Duration
}

// DefaultSettings are short delays with a memory of minutes.
func DefaultSettings() Settings {
	return Settings{Replicas: 3, MinDelay: 200 * time.Millisecond, MaxDelay: 2 * time.Second, MissMemory: 2 * time.Minute, WriteTime: 25 * time.Millisecond}
}

// Check reports what is wrong with the settings.
func (s Settings) Check() error {
	switch {
	case s.Replicas < 1 || s.Replicas > 64:
		return fmt.Errorf("replicas is %d, not between 1 and 64", s.Replicas)
	case s.MinDelay < 0 || s.MaxDelay < s.MinDelay || s.MaxDelay > 24*time.Hour:
		return fmt.Errorf("delays %v to %v are not between 0 and 24h in this order", s.MinDelay, s.MaxDelay)
	case s.MissMemory < 0 || s.MissMemory > 24*time.Hour:
		return fmt.Errorf("missMemory %v is not between 0 and 24h", s.MissMemory)
	case s.WriteTime < 0 || s.WriteTime > time.Minute:
		return fmt.Errorf("writeTime %v is not between 0 and 1m", s.WriteTime)
	}
	return nil
}

// maxMisses bounds the memory of each replica.
const maxMisses = 4096

// A Model is safe for concurrent use.
type Model struct {
	settings Settings
	random   *random.Source
	now      func() time.Time

	mu      sync.Mutex
	pending map[string][]change    // by client ID, oldest first
	fresh   map[string][]time.Time // by principal ID: when each replica learns of it
	misses  []map[Miss]missed      // by replica
}

type change struct {
	before, after *directory.Credential
	visibleAt     []time.Time // by replica
}

// A Miss is what a replica remembers.
type Miss struct{ ClientID, Issuer, Subject string }

type missed struct {
	until time.Time
	code  int
}

// New returns a model in which nothing is pending.
func New(settings Settings, source *random.Source, now func() time.Time) *Model {
	m := &Model{settings: settings, random: source, now: now}
	m.Reset()
	return m
}

// Settings are the ones the model was made with.
func (m *Model) Settings() Settings { return m.settings }

// Reset forgets pending changes and misses: everything stored is visible.
func (m *Model) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending = map[string][]change{}
	m.fresh = map[string][]time.Time{}
	m.misses = make([]map[Miss]missed, m.settings.Replicas)
	for i := range m.misses {
		m.misses[i] = map[Miss]missed{}
	}
}

// Changed tells the model that a federated credential of a client was created
// (before is nil), changed or deleted (after is nil). It is called while the
// directory is being updated, so that no request sees the change before its
// delay.
func (m *Model) Changed(clientID string, before, after *directory.Credential) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := change{before: before, after: after, visibleAt: m.delays()}
	if older := m.settle(clientID); len(older) > 0 {
		// A replica learns of changes in the order they were made.
		for r, at := range older[len(older)-1].visibleAt {
			if c.visibleAt[r].Before(at) {
				c.visibleAt[r] = at
			}
		}
	}
	if m.settings.MaxDelay > 0 {
		m.pending[clientID] = append(m.pending[clientID], c)
	}
}

// Created tells the model that a principal is new.
func (m *Model) Created(principalID string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.settings.MaxDelay > 0 {
		m.fresh[principalID] = m.delays()
	}
}

// KnowsPrincipal asks a replica whether it knows a principal that exists.
func (m *Model) KnowsPrincipal(principalID string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	visibleAt, ok := m.fresh[principalID]
	if !ok {
		return true
	}
	if now := m.now(); !slices.ContainsFunc(visibleAt, func(at time.Time) bool { return at.After(now) }) {
		delete(m.fresh, principalID)
		return true
	}
	return !visibleAt[m.replica()].After(m.now())
}

// A View is what one replica answers with.
type View struct {
	model    *Model
	replica  int
	clientID string
	// Credentials are the client's federated credentials as this replica knows
	// them.
	Credentials []directory.Credential
}

// Read asks a replica for the client's federated credentials; stored are the
// current ones.
func (m *Model) Read(clientID string, stored []directory.Credential) View {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := View{model: m, replica: m.replica(), clientID: clientID, Credentials: stored}
	changes := m.settle(clientID)
	now := m.now()
	for _, c := range slices.Backward(changes) {
		if c.visibleAt[v.replica].After(now) {
			v.Credentials = undo(v.Credentials, c)
		}
	}
	return v
}

// Remembered returns the error code of a miss that the replica still remembers.
func (v View) Remembered(issuer, subject string) (code int, ok bool) {
	v.model.mu.Lock()
	defer v.model.mu.Unlock()
	m, ok := v.model.misses[v.replica][Miss{v.clientID, issuer, subject}]
	return m.code, ok && m.until.After(v.model.now())
}

// Remember makes the replica remember a miss. One that it remembers already is
// not extended.
func (v View) Remember(issuer, subject string, code int) {
	m := v.model
	if m.settings.MissMemory == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now, memory, key := m.now(), m.misses[v.replica], Miss{v.clientID, issuer, subject}
	if old, ok := memory[key]; ok && old.until.After(now) {
		return
	}
	if len(memory) >= maxMisses {
		forget(memory, now)
	}
	memory[key] = missed{until: now.Add(m.settings.MissMemory), code: code}
}

// A Replica is the state of one replica for one client.
type Replica struct {
	// LearnsAt is when it knows the newest change; zero if it does already.
	LearnsAt time.Time `json:"learnsAt,omitzero"`
	Misses   []Known   `json:"misses,omitempty"`
}

// Known is a miss that a replica remembers.
type Known struct {
	Issuer  string    `json:"issuer"`
	Subject string    `json:"subject"`
	Code    int       `json:"code"`
	Until   time.Time `json:"until"`
}

// A Status is the truth about one client, which no real client can see.
type Status struct {
	ClientID string `json:"clientId"`
	Ready    bool   `json:"ready"`
	// TrueReadyAt is when every replica answers with the current credentials,
	// provided that no further request comes too early. It is zero if they do.
	TrueReadyAt time.Time `json:"trueReadyAt,omitzero"`
	Replicas    []Replica `json:"replicas"`
}

// Status tells what the replicas know of a client.
func (m *Model) Status(clientID string) Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Status{ClientID: clientID, Replicas: make([]Replica, m.settings.Replicas)}
	now, changes := m.now(), m.settle(clientID)
	later := func(t time.Time) {
		if t.After(s.TrueReadyAt) {
			s.TrueReadyAt = t
		}
	}
	for r := range s.Replicas {
		if len(changes) > 0 {
			if at := changes[len(changes)-1].visibleAt[r]; at.After(now) {
				s.Replicas[r].LearnsAt = at
				later(at)
			}
		}
		for key, miss := range m.misses[r] {
			if key.ClientID == clientID && miss.until.After(now) {
				s.Replicas[r].Misses = append(s.Replicas[r].Misses, Known{key.Issuer, key.Subject, miss.code, miss.until})
				later(miss.until)
			}
		}
		slices.SortFunc(s.Replicas[r].Misses, func(a, b Known) int { return a.Until.Compare(b.Until) })
	}
	s.Ready = s.TrueReadyAt.IsZero()
	return s
}

// settle drops the changes that every replica knows and returns the rest. The
// caller holds the lock.
func (m *Model) settle(clientID string) []change {
	changes, ok := m.pending[clientID]
	if !ok {
		return nil
	}
	now := m.now()
	changes = slices.DeleteFunc(changes, func(c change) bool {
		return !slices.ContainsFunc(c.visibleAt, func(at time.Time) bool { return at.After(now) })
	})
	if len(changes) == 0 {
		delete(m.pending, clientID)
		return nil
	}
	m.pending[clientID] = changes
	return changes
}

func (m *Model) delays() []time.Time {
	now := m.now()
	at := make([]time.Time, m.settings.Replicas)
	for r := range at {
		at[r] = now.Add(m.random.Duration(m.settings.MinDelay, m.settings.MaxDelay))
	}
	return at
}

func (m *Model) replica() int { return m.random.IntN(m.settings.Replicas) }

// undo returns list as it was before c.
func undo(list []directory.Credential, c change) []directory.Credential {
	switch {
	case c.before == nil:
		without, _ := directory.WithoutCredential(list, c.after.Name)
		return without
	case c.after == nil:
		return append(slices.Clone(list), *c.before)
	}
	out := slices.Clone(list)
	for i := range out {
		if out[i].Name == c.before.Name {
			out[i] = *c.before
		}
	}
	return out
}

// forget makes room: it drops what has run out, and half of the rest if that
// was not enough.
func forget(memory map[Miss]missed, now time.Time) {
	for k, m := range memory {
		if !m.until.After(now) {
			delete(memory, k)
		}
	}
	for k := range memory {
		if len(memory) <= maxMisses/2 {
			return
		}
		delete(memory, k)
	}
}
