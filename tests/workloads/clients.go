// The client commands: orders, pool, churn and pinger. They choose what is called
// and how often; the calls themselves are in packages handlers and clients.

package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"example.com/shop/clients"
	"example.com/shop/handlers"
	"example.com/shop/load"
	"example.com/shop/rpcx"
	"example.com/shop/telemetry"
)

// client is what the client commands share: whom they call and how often.
type client struct {
	*process
	targets     targets
	rate        float64
	scheme      string
	idleTimeout time.Duration
	leakMemory  float64
	options     []grpc.DialOption
}

func bindClient(name string, rate float64, flags *flag.FlagSet) *client {
	c := &client{process: bindProcess(name, flags), targets: targets{"127.0.0.1:9000"}}
	flags.Var(&c.targets, "target", "`host:port` of the server; several with commas, then each call picks one at random")
	flags.Float64Var(&c.rate, "rate", rate, "`calls` per second, spread evenly over the call sites; 0 sends none")
	flags.StringVar(&c.scheme, "scheme", "dns", "how gRPC resolves the target: `dns` as grpc.NewClient, or passthrough as grpc.Dial")
	flags.DurationVar(&c.idleTimeout, "idle-timeout", 0, "`time` without a call after which a channel drops its connection; 0 leaves it\n"+
		"to grpc-go: 30 minutes in 1.75 and 1.85, never in 1.45, which has no such option")
	flags.Float64Var(&c.leakMemory, "leak-mem", 0, "`MiB` per minute to leak besides, none of it gRPC's")
	return c
}

func (c *client) run(ctx context.Context, calls []load.Call) error {
	if c.rate != 0 && !(c.rate >= load.MinRate && c.rate <= load.MaxRate) {
		return usageError(fmt.Sprintf("--rate %v: calls per second must be 0, or from %v to %v", c.rate, load.MinRate, load.MaxRate))
	}
	if !(c.leakMemory >= 0 && c.leakMemory <= maxLeak) {
		return usageError(fmt.Sprintf("--leak-mem %v: MiB per minute must be from 0 to %d", c.leakMemory, maxLeak))
	}
	if c.scheme != "dns" && c.scheme != "passthrough" {
		return usageError(fmt.Sprintf("--scheme %q: use dns or passthrough", c.scheme))
	}
	if c.idleTimeout < 0 {
		return usageError(fmt.Sprintf("--idle-timeout %v: a time is not negative", c.idleTimeout))
	}
	if c.idleTimeout > 0 {
		idle, err := rpcx.IdleTimeout(c.idleTimeout)
		if err != nil {
			return usageError("--idle-timeout: " + err.Error())
		}
		c.options = append(c.options, idle)
	}
	return c.process.run(ctx, func(ctx context.Context, tel *telemetry.Telemetry) error {
		rpcx.Use(tel.Dial...)
		rpcx.Use(c.options...)
		rpcx.Resolve(c.scheme)
		go hoard(ctx, c.leakMemory)
		slog.Info("calling", "targets", c.targets.String(), "rate", c.rate, "sites", len(calls))
		load.Run(ctx, c.rate, calls)
		return nil
	})
}

func ordersCommand() command {
	return command{
		name:    "orders",
		summary: "ten call sites, three of which dial per call and never close",
		description: `
An order service with ten call sites. Seven use the one shared client. Three dial
a connection per call and never close it, so 3 of 10 calls leak one connection:
  handlers.(*Orders).GetUser       through rpcx.Dial
  handlers.(*Orders).ReserveStock  through rpcx.Dial
  handlers.(*Orders).notify        through rpcx.DialDirect
With --fixed all ten use the shared client: the same service done right.
With --unused the first two dial, and then call through the shared client all the same:
channels without connections (in 1.45 with them, for there a channel connects at once).`,
		examples: []string{
			"shop orders                                     # leaks 4.5 connections a second",
			"shop orders --fixed                             # one connection",
			"shop orders --idle-timeout 30s                  # at most 135 connections, and ever more goroutines",
			"shop orders --fixed --leak-mem 20               # one connection, and memory grows all the same",
			"shop orders --rate 100 --target shop-server:9000 --metrics middleware",
		},
		bind: func(flags *flag.FlagSet) func(context.Context) error {
			c := bindClient("orders", 15, flags)
			fixed := flags.Bool("fixed", false, "every call site uses the shared client")
			unused := flags.Bool("unused", false, "GetUser and ReserveStock do not use the channels that they make")
			return func(ctx context.Context) error {
				if *fixed && *unused {
					return usageError("--fixed and --unused: choose one")
				}
				orders := &handlers.Orders{Pick: c.targets.pick, Fixed: *fixed, Unused: *unused}
				return c.run(ctx, orders.Calls())
			}
		},
	}
}

func poolCommand() command {
	return command{
		name:    "pool",
		summary: "a fixed pool of connections, used in turn: many, but no leak",
		description: `
A client with a fixed pool of connections that it uses in turn. It holds many
connections and leaks none: an honest detector must clear it.`,
		examples: []string{"shop pool", "shop pool --size 4 --rate 100"},
		bind: func(flags *flag.FlagSet) func(context.Context) error {
			c := bindClient("pool", 15, flags)
			size := flags.Int("size", 16, "number of `connections` in the pool")
			return func(ctx context.Context) error {
				if *size < 1 {
					return usageError(fmt.Sprintf("--size %d: a pool has at least 1 connection", *size))
				}
				pool := clients.NewPool(*size, c.targets.pick)
				return c.run(ctx, []load.Call{{Name: "pool", Do: pool.CheckStock}})
			}
		},
	}
}

func churnCommand() command {
	return command{
		name:    "churn",
		summary: "dials and closes per call: slow, but no leak",
		description: `
A client that dials a connection for each call and closes it again. It opens as
many connections as it makes calls, yet none stays open: churn, not a leak.`,
		examples: []string{"shop churn", "shop churn --rate 50 --target shop-server:9000"},
		bind: func(flags *flag.FlagSet) func(context.Context) error {
			c := bindClient("churn", 15, flags)
			return func(ctx context.Context) error {
				quotes := &handlers.Quotes{Pick: c.targets.pick}
				return c.run(ctx, []load.Call{{Name: "churn", Do: quotes.Quote}})
			}
		},
	}
}

func pingerCommand() command {
	return command{
		name:    "pinger",
		summary: "pings more often than the server allows, and is cut off for it",
		description: `
A client whose few channels keep themselves alive with a ping every 10 seconds, calls
or not. A server with grpc-go's defaults allows one in 5 minutes, and none without
calls: after 40 seconds it closes the connection (GOAWAY ENHANCE_YOUR_CALM,
too_many_pings). grpc-go then doubles that channel's interval and would learn its
lesson; this client makes a new channel instead when it finds the old one cut off,
as many do, and so never learns. A call resets the server's count of bad pings:
keep size / rate, the seconds between two calls of a channel, above 40.`,
		examples: []string{"shop pinger", "shop pinger --size 12 --rate 0.2 --target shop-server:9000"},
		bind: func(flags *flag.FlagSet) func(context.Context) error {
			c := bindClient("pinger", 0.1, flags)
			size := flags.Int("size", 6, "number of `channels`, used in turn")
			interval := flags.Duration("keepalive", 10*time.Second, "`time` between two pings; grpc-go allows no less than 10s")
			return func(ctx context.Context) error {
				if *size < 1 {
					return usageError(fmt.Sprintf("--size %d: there must be at least 1 channel", *size))
				}
				c.options = append(c.options, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: *interval, PermitWithoutStream: true}))
				pinger := clients.NewPinger(*size, c.targets.pick)
				return c.run(ctx, []load.Call{{Name: "pinger", Do: pinger.CheckStock}})
			}
		},
	}
}
