//go:build grpc1.45

package shopv1

import "google.golang.org/grpc"

// grpc-go 1.45 knows no static methods.
var callOptions []grpc.CallOption
