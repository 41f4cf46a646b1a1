// Shop is a small gRPC server and several gRPC clients in one program: some leak
// connections or have other bad habits, some are well behaved. The demo and the
// end-to-end tests run it, built against several grpc-go versions, so that what
// the operator judges is real gRPC and not an imitation. It holds no test and no
// verdict of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
)

// command is one subcommand: what its --help says and what it does.
type command struct {
	name, summary, description string
	examples                   []string
	// bind registers the command's flags and returns what runs after parsing.
	bind func(*flag.FlagSet) func(context.Context) error
}

func commands() []command {
	return []command{serverCommand(), ordersCommand(), poolCommand(), churnCommand(), pingerCommand()}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.As(err, new(usageError)):
		fmt.Fprintf(os.Stderr, "shop: %v\n", err)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "shop: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		printOverview(os.Stderr)
		return usageError("name a command: server, orders, pool, churn or pinger")
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		printOverview(os.Stdout)
		return nil
	case "version", "--version":
		fmt.Printf("shop, grpc-go %s\n", grpc.Version)
		return nil
	}
	for _, it := range commands() {
		if it.name == args[0] {
			return it.run(ctx, args[1:])
		}
	}
	return usageError(fmt.Sprintf("there is no command %q: use server, orders, pool, churn or pinger", args[0]))
}

func (c command) run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // Parse would print the error a second time.
	flags.Usage = func() {}
	start := c.bind(flags)
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		c.printHelp(os.Stdout, flags)
		return err
	} else if err != nil {
		return usageError(fmt.Sprintf("%v; `shop %s --help` lists the flags", err, c.name))
	}
	if flags.NArg() > 0 {
		return usageError(fmt.Sprintf("unexpected argument %q; `shop %s --help` lists the flags", flags.Arg(0), c.name))
	}
	return start(ctx)
}
