package kube

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
)

// AtLeast asks the API server's version, and reports whether it is Kubernetes
// 1.minor or later.
func (c *Client) AtLeast(ctx context.Context, minor int) (bool, error) {
	var v struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := c.Get(ctx, "/version", &v); err != nil {
		return false, err
	}
	return atLeast(v.GitVersion, minor)
}

// atLeast compares a version such as v1.32.4-gke.1 with 1.minor.
func atLeast(version string, minor int) (bool, error) {
	m := regexp.MustCompile(`^v(\d+)\.(\d+)\.`).FindStringSubmatch(version)
	if m == nil {
		return false, fmt.Errorf("not a version of Kubernetes: %.40q", version)
	}
	major, err := strconv.Atoi(m[1])
	if err != nil {
		return false, err
	}
	have, err := strconv.Atoi(m[2])
	return major > 1 || major == 1 && have >= minor, err
}
