package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// The metadata alone: who watches is told that something changed, and reads it.
const metadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

// Watch calls changed when the object with that name, in the collection with that
// path, is there, and each time that it has changed. It returns nil when the watch
// has ended in good order, which is after the given time at most, and an error when
// it was refused or lost. It needs the verb watch, for that name alone.
// Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
func (c *Client) Watch(ctx context.Context, collection, name string, most time.Duration, changed func()) error {
	// A connection that is dead without a sign would otherwise be waited for.
	ctx, cancel := context.WithTimeout(ctx, most+10*time.Second)
	defer cancel()
	what := "watch " + collection + "/" + name
	resp, err := c.send(ctx, Request{Method: http.MethodGet, Path: collection, Accept: metadataOnly, query: url.Values{
		"watch": {"true"}, "fieldSelector": {"metadata.name=" + name}, "timeoutSeconds": {strconv.Itoa(int(most / time.Second))},
	}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return fmt.Errorf("%s: %w", what, statusError(resp.StatusCode, raw))
	}
	for events := json.NewDecoder(resp.Body); ; {
		var event struct {
			Type   string
			Object json.RawMessage
		}
		err := events.Decode(&event)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", what, err)
		case event.Type == "ERROR":
			var status struct{ Code int }
			_ = json.Unmarshal(event.Object, &status) // without a code the error says so
			return fmt.Errorf("%s: %w", what, statusError(status.Code, event.Object))
		}
		changed()
	}
}
