// Locks takes locks in a real etcd, again and again: with one client that it shares, or with a client per call that it
// never closes. The end-to-end tests run both. It has no metrics but Go's own; only the shared client tells of its
// connections, so that pings which etcd rejects would be seen.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	_ "net/http/pprof"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	clientv3 "go.etcd.io/etcd/client/v3"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats/opentelemetry"
)

// store is where the locks are.
type store struct {
	config clientv3.Config
	shared *clientv3.Client // nil: each call makes its own
}

// Acquire takes a lock; its lease gives it back after ten seconds.
func (s *store) Acquire(ctx context.Context, name string) error {
	client := s.shared
	if client == nil {
		var err error
		if client, err = clientv3.New(s.config); err != nil { // Never closed: this is the leak.
			return err
		}
	}
	lease, err := client.Grant(ctx, 10)
	if err != nil {
		return err
	}
	free := clientv3.Compare(clientv3.CreateRevision(name), "=", 0)
	_, err = client.Txn(ctx).If(free).Then(clientv3.OpPut(name, "", clientv3.WithLease(lease.ID))).Commit()
	return err
}

// share makes the one client, and a watch: without a stream a client does not ping, nor does etcd permit it to.
func (s *store) share(ctx context.Context) error {
	tell, err := connectionMetrics()
	if err != nil {
		return err
	}
	config := s.config
	config.DialOptions = append(config.DialOptions, tell)
	if s.shared, err = clientv3.New(config); err != nil {
		return err
	}
	go func() {
		for range s.shared.Watch(ctx, "/settings") {
		}
	}()
	return nil
}

// connectionMetrics are gRPC's own (gRFC A94), off by default in grpc-go.
func connectionMetrics() (grpc.DialOption, error) {
	exporter, err := otelprom.New()
	if err != nil {
		return nil, err
	}
	return opentelemetry.DialOption(opentelemetry.Options{MetricsOptions: opentelemetry.MetricsOptions{
		MeterProvider: metric.NewMeterProvider(metric.WithReader(exporter)),
		Metrics: opentelemetry.DefaultMetrics().Add(
			"grpc.subchannel.open_connections",
			"grpc.subchannel.connection_attempts_succeeded",
			"grpc.subchannel.connection_attempts_failed",
			"grpc.subchannel.disconnections",
		),
		OptionalLabels: []string{"grpc.disconnect_error"},
	}}), nil
}

func main() {
	address := flag.String("etcd", "localhost:2379", "`address` of etcd")
	leaky := flag.Bool("leaky", false, "make a client per call and never close it, instead of sharing one")
	every := flag.Duration("every", time.Second, "`time` between two locks")
	web := flag.String("http", ":8080", "`address` of /healthz, /metrics and /debug/pprof/")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	locks := &store{config: clientv3.Config{
		Endpoints: []string{*address},
		// As kube-apiserver sets them for its etcd, which permits a ping every 5 s.
		DialKeepAliveTime:    30 * time.Second,
		DialKeepAliveTimeout: 10 * time.Second,
	}}
	if !*leaky {
		if err := locks.share(ctx); err != nil {
			fail(err)
		}
	}
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	http.Handle("/metrics", promhttp.Handler())
	go func() { fail(http.ListenAndServe(*web, nil)) }()
	locks.work(ctx, *every)
}

// work takes a lock at every tick until ctx ends.
func (s *store) work(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		call, done := context.WithTimeout(ctx, 10*time.Second)
		if err := s.Acquire(call, fmt.Sprintf("/locks/%d", n)); err != nil {
			slog.Warn("no lock", "error", err)
		}
		done()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "locks:", err)
	os.Exit(1)
}
