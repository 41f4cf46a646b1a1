// The client commands: orders, pool and churn. They choose what is called and how
// often; the calls themselves are in packages handlers and clients.

package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"

	"example.com/shop/clients"
	"example.com/shop/handlers"
	"example.com/shop/load"
	"example.com/shop/rpcx"
	"example.com/shop/telemetry"
)

// client is what the three client commands share: whom they call and how often.
type client struct {
	*process
	targets targets
	rate    float64
}

func bindClient(name string, flags *flag.FlagSet) *client {
	c := &client{process: bindProcess(name, flags), targets: targets{"127.0.0.1:9000"}}
	flags.Var(&c.targets, "target", "`host:port` of the server; several with commas, then each call picks one at random")
	flags.Float64Var(&c.rate, "rate", 15, "`calls` per second, spread evenly over the call sites; 0 sends none")
	return c
}

func (c *client) run(ctx context.Context, calls []load.Call) error {
	if c.rate != 0 && !(c.rate >= load.MinRate && c.rate <= load.MaxRate) {
		return usageError(fmt.Sprintf("--rate %v: calls per second must be 0, or from %v to %v", c.rate, load.MinRate, load.MaxRate))
	}
	return c.process.run(ctx, func(ctx context.Context, tel *telemetry.Telemetry) error {
		rpcx.Use(tel.Dial...)
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
With --fixed all ten use the shared client: the same service done right.`,
		examples: []string{
			"shop orders                                     # leaks 4.5 connections a second",
			"shop orders --fixed                             # one connection",
			"shop orders --rate 100 --target shop-server:9000 --metrics middleware",
		},
		bind: func(flags *flag.FlagSet) func(context.Context) error {
			c := bindClient("orders", flags)
			fixed := flags.Bool("fixed", false, "every call site uses the shared client")
			return func(ctx context.Context) error {
				orders := &handlers.Orders{Pick: c.targets.pick, Fixed: *fixed}
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
			c := bindClient("pool", flags)
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
			c := bindClient("churn", flags)
			return func(ctx context.Context) error {
				quotes := &handlers.Quotes{Pick: c.targets.pick}
				return c.run(ctx, []load.Call{{Name: "churn", Do: quotes.Quote}})
			}
		},
	}
}
