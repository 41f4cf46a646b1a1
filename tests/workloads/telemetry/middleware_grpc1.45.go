//go:build grpc1.45

package telemetry

import (
	grpcprom "github.com/grpc-ecosystem/go-grpc-prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
)

// go-grpc-middleware's provider demands a newer grpc-go; its archived
// predecessor exports the same names.
func (t *Telemetry) addMiddleware(registry *prometheus.Registry) {
	client := grpcprom.NewClientMetrics()
	client.EnableClientHandlingTimeHistogram()
	server := grpcprom.NewServerMetrics()
	server.EnableHandlingTimeHistogram()
	registry.MustRegister(client, server)
	t.Dial = append(t.Dial, grpc.WithChainUnaryInterceptor(client.UnaryClientInterceptor()))
	t.Server = append(t.Server, grpc.ChainUnaryInterceptor(server.UnaryServerInterceptor()))
}
