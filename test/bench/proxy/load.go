package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// connections of the load.
const connections = 32

// A loadResult is what the generator prints.
type loadResult struct {
	PerSecond float64
	P99       float64 // ms
}

// load runs the generator on the second core.
func (b *bench) load(target *server, d time.Duration) (loadResult, error) {
	self, err := os.Executable()
	if err != nil {
		return loadResult{}, err
	}
	cmd := onCore(1, self, loadRole, target.addr, d.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return loadResult{}, err
	}
	var r loadResult
	return r, json.Unmarshal(out, &r)
}

func generate(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) != 2 {
		return errors.New("load ADDR DURATION")
	}
	d, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	deadline := time.Now().Add(d)
	var mu sync.Mutex
	var all []time.Duration
	err = each(connections, func(int) error {
		c, err := connect(ctx, args[0])
		if err != nil {
			return err
		}
		defer c.Close()
		var times []time.Duration
		for time.Now().Before(deadline) {
			start := time.Now()
			if err := c.ask("first"); err != nil {
				return err
			}
			times = append(times, time.Since(start))
		}
		mu.Lock()
		all = append(all, times...)
		mu.Unlock()
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(all)
	return json.NewEncoder(stdout).Encode(loadResult{
		PerSecond: float64(len(all)) / d.Seconds(), P99: all[len(all)*99/100].Seconds() * 1000,
	})
}

// each runs a function n times at once.
func each(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { errs[i] = f(i) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// A connection asks as cheaply as it can: net/http's client costs more than the
// server.
type connection struct {
	net.Conn
	in *bufio.Reader
}

func connect(ctx context.Context, addr string) (*connection, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &connection{c, bufio.NewReaderSize(c, 8<<10)}, nil
}

func (c *connection) ask(client string) error {
	if _, err := io.WriteString(c, "GET "+path+"&client_id="+client+" HTTP/1.1\r\nHost: 169.254.169.254\r\nMetadata: true\r\n\r\n"); err != nil {
		return err
	}
	status, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("answer %s", status)
	}
	length := 0
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if rest, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(string(rest))); err != nil {
				return err
			}
		}
	}
	_, err = c.in.Discard(length)
	return err
}

// askMany sends n requests, over the identities in turn.
func (s *server) askMany(ctx context.Context, n, identities int) error {
	return each(connections, func(i int) error {
		c, err := connect(ctx, s.addr)
		if err != nil {
			return err
		}
		defer c.Close()
		for k := i; k < n; k += connections {
			if err := c.ask(fmt.Sprintf("client-%d", k%identities)); err != nil {
				return err
			}
		}
		return nil
	})
}

// askFor sends requests at a rate, over 100 identities in turn.
func (s *server) askFor(ctx context.Context, rate int, d time.Duration) (done, failed int, err error) {
	deadline, start := time.Now().Add(d), time.Now()
	var mu sync.Mutex
	err = each(connections, func(i int) error {
		c, err := connect(ctx, s.addr)
		if err != nil {
			return err
		}
		defer func() { c.Close() }()
		var good, bad int
		for k := i; ctx.Err() == nil; k += connections {
			// When this request is due; behind that, at once.
			at := start.Add(time.Duration(k) * time.Second / time.Duration(rate))
			if !at.Before(deadline) {
				break
			}
			<-time.After(time.Until(at))
			if c.ask(fmt.Sprintf("client-%d", k%100)) == nil {
				good++
				continue
			}
			bad++
			_ = c.Close()
			if c, err = connect(ctx, s.addr); err != nil {
				return err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		done, failed = done+good, failed+bad
		return nil
	})
	return done, failed, errors.Join(err, ctx.Err())
}
