package inject

import (
	"bytes"
	"encoding/json"
	"iter"
)

// A scanner walks over JSON without decoding it, so that a pod can be measured
// before memory is spent on it. It takes the JSON for valid: what it finds in any
// other is of no use, but it always ends and stays within the data. Decoders match
// its results by reading the same members, the last of a name included.
type scanner struct {
	data []byte
	at   int
}

// next skips blanks and returns the byte that begins the next value, 0 at the end.
func (s *scanner) next() byte {
	for s.at < len(s.data) {
		switch c := s.data[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// take steps over c if it comes next.
func (s *scanner) take(c byte) bool {
	if s.next() != c {
		return false
	}
	s.at++
	return true
}

// members yields the names of an object's members, each before its value, which the
// loop's body may step into; what it leaves is skipped. Of any other value there
// are none, and the value is skipped.
func (s *scanner) members() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if !s.take('{') {
			s.skip()
			return
		}
		for s.next() == '"' {
			name := unquoted(s.text())
			if !s.take(':') {
				break
			}
			if value := s.at; yield(name) && s.at == value {
				s.skip()
			}
			if !s.take(',') {
				break
			}
		}
		s.take('}')
	}
}

// elements yields the positions in a list, like members.
func (s *scanner) elements() iter.Seq[int] {
	return func(yield func(int) bool) {
		if !s.take('[') {
			s.skip()
			return
		}
		for i := 0; s.next() != ']' && s.at < len(s.data); i++ {
			if value := s.at; yield(i) && s.at == value {
				s.skip()
			}
			if !s.take(',') {
				break
			}
		}
		s.take(']')
	}
}

// skip steps over one value of any kind.
func (s *scanner) skip() {
	depth := 0
	for {
		switch c := s.next(); c {
		case 0:
			return
		case '"':
			s.text()
		case '{', '[':
			depth++
			s.at++
		case '}', ']':
			depth--
			s.at++
		case ',', ':':
			s.at++
		default:
			s.at++
			for s.at < len(s.data) && bytes.IndexByte([]byte(" \t\r\n,:]}"), s.data[s.at]) < 0 {
				s.at++
			}
		}
		if depth <= 0 {
			return
		}
	}
}

// text steps over a string and returns it as written, in its quotes. Of any other
// value it returns nil and stays where it is.
func (s *scanner) text() []byte {
	if s.next() != '"' {
		return nil
	}
	start := s.at
	for s.at++; s.at < len(s.data); s.at++ {
		switch s.data[s.at] {
		case '\\':
			s.at++
		case '"':
			s.at++
			return s.data[start:s.at]
		}
	}
	s.at = len(s.data)
	return s.data[start:]
}

// unquoted is what a string as text returns it says.
func unquoted(text []byte) []byte {
	if len(text) < 2 {
		return nil
	}
	if inner := text[1 : len(text)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var s string
	if json.Unmarshal(text, &s) != nil {
		return nil
	}
	return []byte(s)
}
