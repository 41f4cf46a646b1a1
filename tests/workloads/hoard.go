// The --leak-mem flag: a memory leak that has nothing to do with gRPC.

package main

import (
	"context"
	"runtime"
	"time"
)

const (
	maxLeak  = 10_000 // MiB per minute
	pageSize = 4096
)

// hoard allocates perMinute MiB a minute, in steps of a second, and keeps all of it
// until ctx ends.
func hoard(ctx context.Context, perMinute float64) {
	size := int(perMinute * (1 << 20) / 60)
	if size == 0 {
		return
	}
	var kept [][]byte
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			runtime.KeepAlive(kept)
			return
		case <-tick.C:
			more := make([]byte, size)
			for i := 0; i < size; i += pageSize {
				more[i] = 1 // A page that nobody wrote to takes no memory.
			}
			kept = append(kept, more)
		}
	}
}
