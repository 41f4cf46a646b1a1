//go:build !grpc1.45

package rpcx

import (
	"time"

	"google.golang.org/grpc"
)

// IdleTimeout is the option to drop a channel's connection after so long without a call.
func IdleTimeout(after time.Duration) (grpc.DialOption, error) {
	return grpc.WithIdleTimeout(after), nil
}
