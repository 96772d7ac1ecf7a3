package chart

import "embed"

// Files are the chart's.
//
//go:embed Chart.yaml values.yaml values.schema.json files all:templates
var Files embed.FS
