// Package chart tests the Helm chart with Helm itself, on a real API server.
package chart
