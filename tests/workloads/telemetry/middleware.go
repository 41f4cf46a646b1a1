//go:build !grpc1.45

package telemetry

import (
	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
)

func (t *Telemetry) addMiddleware(registry *prometheus.Registry) {
	client := grpcprom.NewClientMetrics(grpcprom.WithClientHandlingTimeHistogram())
	server := grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram())
	registry.MustRegister(client, server)
	t.Dial = append(t.Dial, grpc.WithChainUnaryInterceptor(client.UnaryClientInterceptor()))
	t.Server = append(t.Server, grpc.ChainUnaryInterceptor(server.UnaryServerInterceptor()))
}
