// Package telemetry gives gRPC clients and servers one of three kinds of metrics,
// and the HTTP handler that shows them. It adds no metric of its own making.
package telemetry

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
)

// Telemetry is what to hand to gRPC, and the page that results.
type Telemetry struct {
	Dial   []grpc.DialOption
	Server []grpc.ServerOption
	// Handler serves /metrics; nil when there are no metrics.
	Handler http.Handler
}

// New makes the telemetry of a mode: otel, middleware or none. service is the
// OpenTelemetry service name. It fails on a mode this build does not have.
func New(service, mode string) (*Telemetry, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	tel := &Telemetry{Handler: promhttp.HandlerFor(registry, promhttp.HandlerOpts{})}
	switch mode {
	case "none":
		return &Telemetry{}, nil
	case "middleware":
		tel.addMiddleware(registry)
	case "otel":
		if err := tel.addOTel(service, registry); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%q is not a mode: use otel, middleware or none", mode)
	}
	return tel, nil
}
