// The `server` command. What the methods answer is in package shopv1.

package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"example.com/shop/shopv1"
	"example.com/shop/telemetry"
)

func serverCommand() command {
	return command{
		name:    "server",
		summary: "the gRPC server that all the clients call",
		description: `
The gRPC server: users, stock, payments, shipping and notifications, each method
answering at once. Keepalive and connection limits are grpc-go's defaults, so it
never closes a connection of its own will: what leaks, the clients leak. With
--max-connection-idle it closes what had no call for so long: a leaking client's
connections then come to a plateau, and what is left of its channels piles up.`,
		examples: []string{"shop server", "shop server --listen 127.0.0.1:9000 --http 127.0.0.1:8080 --metrics none"},
		bind: func(flags *flag.FlagSet) func(context.Context) error {
			p := bindProcess("server", flags)
			listen := flags.String("listen", ":9000", "`address` of the gRPC services")
			idle := flags.Duration("max-connection-idle", 0, "`time` without a call after which the server closes a connection; 0 is never")
			return func(ctx context.Context) error {
				if *idle < 0 {
					return usageError(fmt.Sprintf("--max-connection-idle %v: a time is not negative", *idle))
				}
				return p.run(ctx, func(ctx context.Context, tel *telemetry.Telemetry) error {
					options := append(tel.Server, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: *idle}))
					return serveGRPC(ctx, *listen, options)
				})
			}
		},
	}
}

func serveGRPC(ctx context.Context, address string, options []grpc.ServerOption) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--listen %s: %w", address, err)
	}
	server := grpc.NewServer(options...)
	shopv1.Register(server)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		// A call that never ends must not hold the process up.
		cutOff := time.AfterFunc(5*time.Second, server.Stop)
		defer cutOff.Stop()
		server.GracefulStop()
	}()
	slog.Info("serving grpc", "address", listener.Addr().String())
	if err := server.Serve(listener); err != nil {
		return fmt.Errorf("serve grpc on %s: %w", address, err)
	}
	<-stopped
	return nil
}
