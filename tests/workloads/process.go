// What every command has around its work: HTTP, metrics and a clean end.

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"google.golang.org/grpc"

	"example.com/shop/telemetry"
)

// process is what every command has: an HTTP side and metrics of one mode.
type process struct {
	name    string
	http    string
	metrics string
}

func bindProcess(name string, flags *flag.FlagSet) *process {
	p := &process{name: name}
	flags.StringVar(&p.http, "http", ":8080", "`address` of /healthz, /metrics and /debug/pprof/")
	flags.StringVar(&p.metrics, "metrics", telemetry.Default, "`mode` of /metrics:\n"+
		"otel        gRPC's own OpenTelemetry metrics, calls and connections (grpc-go 1.85 only)\n"+
		"middleware  go-grpc-middleware's metrics: calls, but no connections\n"+
		"none        no application metrics at all: /metrics answers 404\n"+
		"otel and middleware come with the Go runtime and process metrics.")
	return p
}

// run serves HTTP while work runs, and ends both when ctx does or either fails.
func (p *process) run(ctx context.Context, work func(context.Context, *telemetry.Telemetry) error) error {
	tel, err := telemetry.New("shop-"+p.name, p.metrics)
	if err != nil {
		return usageError("--metrics: " + err.Error())
	}
	listener, err := net.Listen("tcp", p.http)
	if err != nil {
		return fmt.Errorf("--http %s: %w", p.http, err)
	}
	slog.Info("serving http", "address", listener.Addr().String(), "command", p.name, "metrics", p.metrics, "grpc", grpc.Version)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	webFailed := make(chan error, 1)
	web := &http.Server{Handler: routes(tel), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			webFailed <- fmt.Errorf("serve http on %s: %w", p.http, err)
			cancel()
		}
	}()

	err = work(ctx, tel)
	select {
	case failure := <-webFailed:
		err = errors.Join(err, failure)
	default:
	}
	// The signal has already ended ctx, so the last answers get a time of their own.
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer done()
	slog.Info("stopping")
	if web.Shutdown(grace) != nil { // A profile still being taken is cut off.
		_ = web.Close()
	}
	return err
}

func routes(tel *telemetry.Telemetry) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	if tel.Handler != nil {
		mux.Handle("/metrics", tel.Handler)
	}
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
