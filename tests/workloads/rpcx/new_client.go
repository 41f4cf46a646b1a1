//go:build !grpc1.45

package rpcx

import "google.golang.org/grpc"

var newClient = grpc.NewClient
