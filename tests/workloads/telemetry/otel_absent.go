//go:build grpc1.45 || grpc1.75

package telemetry

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
)

// Default is the mode that tells most about a build with this grpc-go version.
const Default = "middleware"

// The subchannel metrics came with grpc-go 1.78; without them the mode would tell
// nothing of connections.
func (t *Telemetry) addOTel(string, *prometheus.Registry) error {
	return fmt.Errorf("otel needs grpc-go 1.85, and this build has %s: use middleware", grpc.Version)
}
