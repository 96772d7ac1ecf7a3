package odata

import (
	"errors"
	"fmt"
	"strings"
)

// ErrFilter is a filter that can't be understood.
var ErrFilter = errors.New("invalid filter clause")

// maxFilter bounds a filter, in bytes.
const maxFilter = 8 << 10

// An Op is what a term does.
type Op string

// The operators. Call is a function without a comparison, such as atScope().
const (
	Equal      Op = "eq"
	StartsWith Op = "startswith"
	Call       Op = "call"
)

// A Term is one condition. All terms of a filter must hold.
type Term struct {
	Op Op
	// Field is the property, or the name of the called function.
	Field string
	// Value is compared with, or is the only argument of the call.
	Value string
}

// Parse reads a filter. An empty one has no terms.
func Parse(filter string) ([]Term, error) {
	if len(filter) > maxFilter {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrFilter, maxFilter)
	}
	tokens, err := scan(filter)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	var terms []Term
	for len(p.tokens) > 0 {
		if len(terms) > 0 && !p.word("and") {
			return nil, fmt.Errorf("%w: and expected at %s", ErrFilter, p.peek())
		}
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		terms = append(terms, t)
	}
	return terms, nil
}

// Match reports whether an entity matches all terms. values returns what a field
// of the entity has (several for a list), and false for a field that it can't be
// filtered by. Strings are compared whatever the case, as Graph does.
func Match(terms []Term, values func(field string) ([]string, bool)) (bool, error) {
	all := true
	for _, t := range terms {
		if t.Op == Call {
			return false, fmt.Errorf("%w: unknown function %s", ErrFilter, t.Field)
		}
		got, ok := values(t.Field)
		if !ok {
			return false, fmt.Errorf("%w: property %s is not supported", ErrFilter, t.Field)
		}
		hit := false
		for _, v := range got {
			if t.Op == StartsWith {
				hit = hit || len(v) >= len(t.Value) && strings.EqualFold(v[:len(t.Value)], t.Value)
			} else {
				hit = hit || strings.EqualFold(v, t.Value)
			}
		}
		all = all && hit
	}
	return all, nil
}

type token struct {
	text string
	// literal is a string in quotes.
	literal bool
}

func scan(s string) ([]token, error) {
	var out []token
	for i := 0; i < len(s); {
		switch s[i] {
		case ' ', '\t':
			i++
		case '(', ')', ',', ':':
			out = append(out, token{text: s[i : i+1]})
			i++
		case '\'':
			var b strings.Builder
			closed := false
			for i++; i < len(s) && !closed; i++ {
				switch {
				case s[i] != '\'':
					b.WriteByte(s[i])
				case i+1 < len(s) && s[i+1] == '\'': // a doubled quote is one
					b.WriteByte('\'')
					i++
				default:
					closed = true
				}
			}
			if !closed {
				return nil, fmt.Errorf("%w: a string has no end", ErrFilter)
			}
			out = append(out, token{b.String(), true})
		default:
			start := i
			for i < len(s) && !strings.ContainsRune(" \t(),:'", rune(s[i])) {
				i++
			}
			out = append(out, token{text: s[start:i]})
		}
	}
	return out, nil
}

type parser struct{ tokens []token }

func (p *parser) peek() string {
	if len(p.tokens) == 0 {
		return "the end"
	}
	return "'" + p.tokens[0].text + "'"
}

// word takes the next token if it is this one.
func (p *parser) word(text string) bool {
	if len(p.tokens) == 0 || p.tokens[0].literal || !strings.EqualFold(p.tokens[0].text, text) {
		return false
	}
	p.tokens = p.tokens[1:]
	return true
}

// name takes a name, value a string or a bare literal such as true or a GUID.
func (p *parser) name() (string, error) {
	if len(p.tokens) == 0 || p.tokens[0].literal || strings.Contains("(),:", p.tokens[0].text) {
		return "", fmt.Errorf("%w: a name is expected at %s", ErrFilter, p.peek())
	}
	text := p.tokens[0].text
	p.tokens = p.tokens[1:]
	return text, nil
}

func (p *parser) value() (string, error) {
	if len(p.tokens) > 0 && p.tokens[0].literal {
		text := p.tokens[0].text
		p.tokens = p.tokens[1:]
		return text, nil
	}
	return p.name()
}

func (p *parser) expect(text string) error {
	if !p.word(text) {
		return fmt.Errorf("%w: '%s' is expected at %s", ErrFilter, text, p.peek())
	}
	return nil
}

func (p *parser) term() (Term, error) {
	name, err := p.name()
	if err != nil {
		return Term{}, err
	}
	if !p.word("(") {
		if err := p.expect("eq"); err != nil {
			return Term{}, err
		}
		v, err := p.value()
		return Term{Equal, name, v}, err
	}
	if field, ok := strings.CutSuffix(name, "/any"); ok {
		return p.any(field)
	}
	if strings.EqualFold(name, "startswith") {
		field, err := p.name()
		if err != nil {
			return Term{}, err
		}
		if err := p.expect(","); err != nil {
			return Term{}, err
		}
		v, err := p.value()
		if err != nil {
			return Term{}, err
		}
		return Term{StartsWith, field, v}, p.expect(")")
	}
	t := Term{Op: Call, Field: name}
	if p.word(")") {
		return t, nil
	}
	if t.Value, err = p.value(); err != nil {
		return Term{}, err
	}
	return t, p.expect(")")
}

// any reads the rest of field/any(x:x eq 'value').
func (p *parser) any(field string) (Term, error) {
	variable, err := p.name()
	if err != nil {
		return Term{}, err
	}
	if err := p.expect(":"); err != nil {
		return Term{}, err
	}
	if err := p.expect(variable); err != nil {
		return Term{}, err
	}
	if err := p.expect("eq"); err != nil {
		return Term{}, err
	}
	v, err := p.value()
	if err != nil {
		return Term{}, err
	}
	return Term{Equal, field, v}, p.expect(")")
}
