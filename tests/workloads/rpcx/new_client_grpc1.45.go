//go:build grpc1.45

package rpcx

import "google.golang.org/grpc"

// grpc.NewClient came with 1.63.
var newClient = grpc.Dial
