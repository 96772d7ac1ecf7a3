package lint

import (
	"regexp"
	"strings"

	"azwi/internal/finding"
	"azwi/internal/pod/manifest"
)

// placeholders match what tools write where a value will be: Flux and envsubst, Helm
// and its like, Azure Pipelines, Octopus, and people.
func placeholders() *regexp.Regexp {
	return regexp.MustCompile(strings.Join([]string{
		`\$\$\{[^{}\n]*\}`, // Flux' way to write ${NAME} itself
		`\$?\{\{.*?\}\}`,   // GitHub's ${{ }} too
		`\$\{[^{}\n]*\}`,
		`\$\([A-Za-z_][\w.-]*\)`,
		`\$[A-Za-z_]\w*`,
		`#\{[^{}\n]+\}#?`,
		`__[A-Za-z][\w.-]*?__`,
		`<[A-Za-z_][\w .-]*>`,
		`%[A-Za-z_]\w*%`,
		`@@?[A-Za-z_]\w*@@?`,
		`\[\[.+?\]\]`,
		`\(\([^()\n]+\)\)`,
	}, "|"))
}

// isPlaceholder reports whether a value is to be filled in, in whole or in part.
func (l *linter) isPlaceholder(text string) bool { return l.placeholder.MatchString(text) }

// toFillIn reports whether a value of workload identity's is a placeholder, and
// remembers it.
func (l *linter) toFillIn(o manifest.Object, v manifest.Value) bool {
	text, ok := v.Text()
	if !ok || !l.isPlaceholder(text) {
		return false
	}
	if !l.filledIn[v.Position()] {
		l.filledIn[v.Position()] = true
		l.left = append(l.left, leftover{o, v.Position(), text})
	}
	return true
}

// leftover is a placeholder in the input.
type leftover struct {
	object manifest.Object
	at     manifest.Position
	text   string
}

// placeholdersLeft tells of a file's placeholders once, or of each of them where none
// may be left.
func (l *linter) placeholdersLeft() {
	count := map[string]int{}
	for _, p := range l.left {
		count[p.at.File]++
	}
	told := map[string]bool{}
	for _, p := range l.left {
		switch file := p.at.File; {
		case l.config.Rendered || l.config.Filled[file]:
			l.findAs(finding.Error, finding.PlaceholderLeft(p.text), p.object, p.at)
		case !told[file] && !l.config.Quiet:
			told[file] = true
			l.find(finding.Placeholders(count[file]), manifest.Object{}, p.at)
		}
	}
}
