// Package load makes calls at a steady rate and logs how they went. It does not
// know what a call does, and it exports no metrics: those are gRPC's own.
package load

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// MinRate and MaxRate bound the rates that Run keeps, in calls per second.
	MinRate = 0.001
	MaxRate = 10_000

	deadline    = 5 * time.Second  // of one call, dialling included
	reportEvery = 30 * time.Second // between two log lines
	maxInFlight = 512              // a server that hangs slows the load down instead of piling it up
)

// Call is one call site.
type Call struct {
	Name string
	Do   func(context.Context) error
}

// Run makes the calls in turn, rate of them per second altogether, until ctx ends
// and the calls under way have come back. A rate of 0 makes none.
func Run(ctx context.Context, rate float64, calls []Call) {
	if rate == 0 {
		<-ctx.Done()
		return
	}
	var (
		tally    tally
		wait     sync.WaitGroup
		inFlight = make(chan struct{}, maxInFlight)
		tick     = time.NewTicker(time.Duration(float64(time.Second) / rate))
		report   = time.NewTicker(reportEvery)
	)
	defer wait.Wait()
	defer tick.Stop()
	defer report.Stop()
	for next := 0; ; {
		select {
		case <-ctx.Done():
			tally.log()
			return
		case <-report.C:
			tally.log()
		case <-tick.C:
			call := calls[next%len(calls)]
			next++
			inFlight <- struct{}{}
			wait.Go(func() {
				defer func() { <-inFlight }()
				tally.count(call.Name, once(ctx, call))
			})
		}
	}
}

func once(ctx context.Context, call Call) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	return call.Do(ctx)
}

// tally counts calls since the start of the process.
type tally struct {
	made, failed atomic.Int64
	lastFailure  atomic.Value // string
}

func (t *tally) count(name string, err error) {
	t.made.Add(1)
	if err != nil {
		t.lastFailure.Store(name + ": " + err.Error())
		if t.failed.Add(1) == 1 {
			slog.Warn("first failed call", "site", name, "error", err)
		}
	}
}

func (t *tally) log() {
	attributes := []any{"made", t.made.Load(), "failed", t.failed.Load()}
	if last := t.lastFailure.Load(); last != nil {
		attributes = append(attributes, "last_failure", last)
	}
	slog.Info("calls so far", attributes...)
}
