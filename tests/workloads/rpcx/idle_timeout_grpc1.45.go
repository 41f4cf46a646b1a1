//go:build grpc1.45

package rpcx

import (
	"fmt"
	"time"

	"google.golang.org/grpc"
)

// IdleTimeout fails: grpc.WithIdleTimeout came with 1.56.
func IdleTimeout(time.Duration) (grpc.DialOption, error) {
	return nil, fmt.Errorf("it needs grpc-go 1.56, and this build has %s: use the server's --max-connection-idle", grpc.Version)
}
