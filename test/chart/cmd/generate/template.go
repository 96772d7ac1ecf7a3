package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A template is text with conditions in it: what several texts become that are
// mostly equal.
type template []item

// An item is a line, or two templates and the condition that chooses the first.
type item struct {
	line      string
	condition string
	then      template
	otherwise template
}

// key tells items apart.
func (i item) key() string {
	if i.condition == "" {
		return i.line
	}
	return "\x00" + i.condition + "\x00" + i.then.key() + "\x00" + i.otherwise.key()
}

func (t template) key() string {
	keys := make([]string, len(t))
	for n, i := range t {
		keys[n] = i.key()
	}
	return strings.Join(keys, "\x01")
}

func lines(text string) template {
	var t template
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		t = append(t, item{line: line})
	}
	return t
}

// choose joins two templates: where they differ, the condition decides.
func choose(condition string, then, otherwise template) template {
	var joined template
	a, b := keys(then), keys(otherwise)
	difference := func(i, j, toI, toJ int) {
		if i < toI || j < toJ {
			joined = append(joined, item{condition: condition, then: then[i:toI], otherwise: otherwise[j:toJ]})
		}
	}
	i, j := 0, 0
	for _, m := range common(a, b) {
		difference(i, j, m[0], m[1])
		joined = append(joined, then[m[0]])
		i, j = m[0]+1, m[1]+1
	}
	difference(i, j, len(a), len(b))
	return joined
}

func keys(t template) []string {
	k := make([]string, len(t))
	for i, item := range t {
		k[i] = item.key()
	}
	return k
}

// common is a longest common subsequence, as pairs of places.
func common(a, b []string) [][2]int {
	var first, last [][2]int
	from, toA, toB := 0, len(a), len(b)
	for from < toA && from < toB && a[from] == b[from] {
		first = append(first, [2]int{from, from})
		from++
	}
	for toA > from && toB > from && a[toA-1] == b[toB-1] {
		toA, toB = toA-1, toB-1
		last = append(last, [2]int{toA, toB})
	}
	slices.Reverse(last)
	return slices.Concat(first, middle(a[from:toA], b[from:toB], from), last)
}

func middle(a, b []string, from int) [][2]int {
	length := make([][]int, len(a)+1)
	for i := range length {
		length[i] = make([]int, len(b)+1)
	}
	for i, lineA := range slices.Backward(a) {
		for j, lineB := range slices.Backward(b) {
			if lineA == lineB {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	var pairs [][2]int
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			pairs = append(pairs, [2]int{from + i, from + j})
			i, j = i+1, j+1
		case length[i+1][j] >= length[i][j+1]:
			i++
		default:
			j++
		}
	}
	return pairs
}

// write writes the template in Helm's language.
func (t template) write(out *strings.Builder) {
	for _, i := range t {
		switch {
		case i.condition == "":
			out.WriteString(fill(i.line) + "\n")
		case len(i.then) == 0:
			fmt.Fprintf(out, "{{- if not (%s) }}\n", i.condition)
			i.otherwise.write(out)
			out.WriteString("{{- end }}\n")
		default:
			fmt.Fprintf(out, "{{- if %s }}\n", i.condition)
			i.then.write(out)
			if len(i.otherwise) > 0 {
				out.WriteString("{{- else }}\n")
				i.otherwise.write(out)
			}
			out.WriteString("{{- end }}\n")
		}
	}
}

// A mark stands for one of the chart's values where the policies are generated.
func mark(name string) string { return "VALUE_" + name + "_" }

// fill puts Helm's variables in the place of marks. A map with one mark as its only
// key becomes the variable as a whole.
func fill(line string) string {
	line = strings.ReplaceAll(line, "{{", `{{ "{{" }}`)
	line = regexp.MustCompile(`\{"VALUE_([A-Za-z]+)_": "x"\}`).ReplaceAllString(line, `{{ $$$1 }}`)
	line = regexp.MustCompile(`^( *)VALUE_([A-Za-z]+)_: x$`).ReplaceAllStringFunc(line, func(s string) string {
		indent := len(s) - len(strings.TrimLeft(s, " "))
		name := strings.TrimSuffix(strings.TrimPrefix(s[indent:], "VALUE_"), "_: x")
		return fmt.Sprintf("%s{{- $%s | nindent %d }}", s[:indent], name, indent)
	})
	return regexp.MustCompile(`VALUE_([A-Za-z]+)_`).ReplaceAllString(line, `{{ $$$1 }}`)
}
