// Package rpcx is the wrapper around gRPC dialling that every company seems to
// have: it sets credentials and instrumentation and returns a connection that
// the caller owns and must close. It neither shares nor closes connections.
package rpcx

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

var options = []grpc.DialOption{
	grpc.WithTransportCredentials(insecure.NewCredentials()),
	// Without this the DNS resolver asks for a TXT record at every dial.
	grpc.WithDisableServiceConfig(),
}

var scheme = "dns"

// Resolve sets how every later dial resolves its target: "dns", the default of
// grpc.NewClient, or "passthrough", that of grpc.Dial. Call it before the first dial.
func Resolve(by string) { scheme = by }

// Use adds options to every later dial. Call it once, before the first dial.
func Use(more ...grpc.DialOption) { options = append(options, more...) }

// Dial makes a connection to target (host:port) that connects at its first call.
// The caller must close it.
func Dial(target string) (*grpc.ClientConn, error) {
	conn, err := newClient(scheme+":///"+target, options...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	return conn, nil
}

// DialDirect is the older way: it waits up to 3 seconds until target is connected.
// The time limit bounds the dialling only, a common misunderstanding: it does not
// end the connection. The caller must close it.
func DialDirect(ctx context.Context, target string) (*grpc.ClientConn, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	// Deprecated in newer versions, yet the form most old code has.
	blocking := append(options[:len(options):len(options)], grpc.WithBlock())
	conn, err := grpc.DialContext(ctx, scheme+":///"+target, blocking...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	return conn, nil
}
