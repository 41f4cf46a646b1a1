//go:build !grpc1.45 && !grpc1.75

package telemetry

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"google.golang.org/grpc/stats/opentelemetry"
)

// Default is the mode that tells most about a build with this grpc-go version.
const Default = "otel"

// Off by default in grpc-go, and the only ones that count connections
// (gRFC A94: OTel metrics for subchannels).
var subchannelMetrics = []string{
	"grpc.subchannel.open_connections",
	"grpc.subchannel.connection_attempts_succeeded",
	"grpc.subchannel.connection_attempts_failed",
	"grpc.subchannel.disconnections",
}

func (t *Telemetry) addOTel(service string, registry *prometheus.Registry) error {
	exporter, err := otelprom.New(otelprom.WithRegisterer(registry))
	if err != nil {
		return fmt.Errorf("make the OpenTelemetry exporter: %w", err)
	}
	options := opentelemetry.Options{MetricsOptions: opentelemetry.MetricsOptions{
		MeterProvider: metric.NewMeterProvider(
			metric.WithReader(exporter),
			metric.WithResource(resource.NewSchemaless(attribute.String("service.name", service))),
		),
		Metrics:        opentelemetry.DefaultMetrics().Add(subchannelMetrics...),
		OptionalLabels: []string{"grpc.disconnect_error"},
	}}
	t.Dial = append(t.Dial, opentelemetry.DialOption(options))
	t.Server = append(t.Server, opentelemetry.ServerOption(options))
	return nil
}
