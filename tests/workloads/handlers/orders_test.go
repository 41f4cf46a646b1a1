package handlers

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"example.com/shop/shopv1"
)

const rounds = 4

func TestLeakingOrdersOpenOneConnectionPerCallOfThreeSites(t *testing.T) {
	if opened, want := connectionsOpened(t, &Orders{}), int64(1+3*rounds); opened != want {
		t.Errorf("opened %d connections, want %d: the shared one and 3 a round", opened, want)
	}
}

func TestFixedOrdersOpenOneConnection(t *testing.T) {
	if opened := connectionsOpened(t, &Orders{Fixed: true}); opened != 1 {
		t.Errorf("opened %d connections, want the shared one alone", opened)
	}
}

func TestUnusedChannelsOpenNoConnection(t *testing.T) {
	if strings.HasPrefix(grpc.Version, "1.45") {
		t.Skip("a channel of grpc-go 1.45 connects at once")
	}
	if opened := connectionsOpened(t, &Orders{Unused: true}); opened != 1 {
		t.Errorf("opened %d connections, want the shared one alone", opened)
	}
}

// connectionsOpened counts what a server of its own accepts while every call
// site is called `rounds` times.
func connectionsOpened(t *testing.T, orders *Orders) int64 {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := &countingListener{Listener: tcp}
	server := grpc.NewServer()
	shopv1.Register(server)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	orders.Pick = tcp.Addr().String
	for range rounds {
		for _, call := range orders.Calls() {
			if err := call.Do(ctx); err != nil {
				t.Fatalf("%s: %v", call.Name, err)
			}
		}
	}
	return listener.accepted.Load()
}

type countingListener struct {
	net.Listener
	accepted atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return conn, err
}
