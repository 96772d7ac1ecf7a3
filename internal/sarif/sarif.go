package sarif

import (
	"slices"
	"strings"

	"azwi/internal/finding"
)

// A Result is a finding at an object of a cluster.
type Result struct {
	Finding finding.Finding
	// Object is a name such as Deployment shop/orders; empty for the whole cluster.
	Object string
}

// A Log is a document of version 2.1.0 with one run, for encoding/json.
// Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
type Log struct {
	Schema  string `json:"$schema"`
	Version string `json:"version"`
	Runs    []run  `json:"runs"`
}

type run struct {
	Tool    tool     `json:"tool"`
	Results []result `json:"results"`
}

type tool struct {
	Driver driver `json:"driver"`
}

type driver struct {
	Name            string       `json:"name"`
	SemanticVersion string       `json:"semanticVersion,omitempty"`
	Rules           []descriptor `json:"rules"`
}

type descriptor struct {
	ID               string  `json:"id"`
	ShortDescription message `json:"shortDescription"`
	HelpURI          string  `json:"helpUri,omitempty"`
}

type message struct {
	Text string `json:"text"`
}

type result struct {
	RuleID    string     `json:"ruleId"`
	RuleIndex int        `json:"ruleIndex"`
	Level     string     `json:"level"`
	Message   message    `json:"message"`
	Locations []location `json:"locations,omitempty"`
}

type location struct {
	LogicalLocations []logical `json:"logicalLocations"`
}

type logical struct {
	FullyQualifiedName string `json:"fullyQualifiedName"`
	Kind               string `json:"kind"`
}

// New makes a log of results. The version is the tool's, and may be empty.
func New(version string, results []Result) Log {
	r := run{Tool: tool{driver{Name: "azwi", SemanticVersion: strings.TrimPrefix(version, "v"), Rules: []descriptor{}}}, Results: []result{}}
	for _, one := range results {
		code := one.Finding.Code()
		index := slices.IndexFunc(r.Tool.Driver.Rules, func(d descriptor) bool { return d.ID == string(code) })
		if index < 0 {
			entry, _ := finding.Find(code)
			index = len(r.Tool.Driver.Rules)
			r.Tool.Driver.Rules = append(r.Tool.Driver.Rules, descriptor{ID: string(code), ShortDescription: message{entry.Title}})
		}
		out := result{RuleID: string(code), RuleIndex: index, Level: level(one.Finding.Severity()), Message: message{one.Finding.Text()}}
		if one.Object != "" {
			out.Locations = []location{{[]logical{{FullyQualifiedName: one.Object, Kind: "resource"}}}}
		}
		r.Results = append(r.Results, out)
	}
	return Log{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []run{r}}
}

// level is the format's word for a severity.
func level(s finding.Severity) string {
	switch s {
	case finding.Error:
		return "error"
	case finding.Warning:
		return "warning"
	default:
		return "note"
	}
}
