//go:build !grpc1.45

package shopv1

import "google.golang.org/grpc"

// The OpenTelemetry metrics name a method only when told that it comes from a
// fixed set; generated code does the same.
var callOptions = []grpc.CallOption{grpc.StaticMethod()}
