package sts

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"azwi/internal/finding"
)

// Documentation says of each refusal how sure it is.
func TestRefusalsAreDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../../docs/emulator.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "\n## How sure each refusal is\n")
	documented := map[string]bool{}
	for _, number := range regexp.MustCompile(`\d+`).FindAllString(table, -1) {
		documented[number] = true
	}
	unknown, known := fail(0).Text, 0
	for _, row := range finding.AADSTSCodes() {
		for _, code := range row.Codes {
			if fail(code).Text == unknown {
				continue
			}
			known++
			if !documented[strconv.Itoa(code)] {
				t.Errorf("docs/emulator.md does not say how sure AADSTS%d is", code)
			}
		}
	}
	if known < 30 {
		t.Errorf("%d codes with a text of their own", known)
	}
}
