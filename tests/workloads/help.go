// The words a person sees: the overview, each command's help, usage mistakes.

package main

import (
	"flag"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc"
)

// usageError is a mistake on the command line: exit code 2, not 1.
type usageError string

func (e usageError) Error() string { return string(e) }

func printOverview(w io.Writer) {
	fmt.Fprintf(w, `A small gRPC shop, good and bad, to try connection hygiene on. Built with grpc-go %s.

Usage: shop COMMAND [FLAGS]

Commands:
`, grpc.Version)
	for _, it := range commands() {
		fmt.Fprintf(w, "  %-8s %s\n", it.name, it.summary)
	}
	fmt.Fprint(w, `  version  print the grpc-go version this binary was built with

Every command also serves HTTP: /healthz, /metrics and /debug/pprof/. SIGTERM ends it cleanly.

Try it in three terminals:
  shop server
  shop orders --http :8081
  watch 'curl -s localhost:8081/metrics | grep -E "^(process_open_fds|go_goroutines)"'

`+"`shop COMMAND --help` explains one command.\n")
}

func (c command) printHelp(w io.Writer, flags *flag.FlagSet) {
	fmt.Fprintf(w, "%s\n\nUsage: shop %s [FLAGS]\n\nFlags:\n", strings.TrimSpace(c.description), c.name)
	flags.VisitAll(func(f *flag.Flag) {
		kind, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "  %s\n      %s", strings.TrimSpace("--"+f.Name+" "+kind), strings.ReplaceAll(usage, "\n", "\n      "))
		if f.DefValue != "" {
			fmt.Fprintf(w, " (default %s)", f.DefValue)
		}
		fmt.Fprintln(w)
	})
	fmt.Fprint(w, "\nExamples:\n")
	for _, it := range c.examples {
		fmt.Fprintf(w, "  %s\n", it)
	}
}
