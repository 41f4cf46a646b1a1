package clients

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"example.com/shop/rpcx"
	"example.com/shop/shopv1"
)

// Pinger is a few channels used in turn, each replaced when it has lost its
// connection. It closes what it replaces: it leaks nothing.
type Pinger struct {
	mutex sync.Mutex
	next  int
	conns []*grpc.ClientConn
	pick  func() string
}

// NewPinger makes a pinger of size channels, each to a server that pick names.
func NewPinger(size int, pick func() string) *Pinger {
	return &Pinger{conns: make([]*grpc.ClientConn, size), pick: pick}
}

// CheckStock asks the stock service over the next channel.
func (p *Pinger) CheckStock(ctx context.Context) error {
	conn, err := p.connected()
	if err != nil {
		return err
	}
	_, err = shopv1.Invoke(ctx, conn, shopv1.CheckStock, "sku-1")
	return err
}

// connected is the next channel, or a new one in its place if it has no connection.
func (p *Pinger) connected() (*grpc.ClientConn, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.next = (p.next + 1) % len(p.conns)
	conn := p.conns[p.next]
	if conn != nil && conn.GetState() == connectivity.Ready {
		return conn, nil
	}
	fresh, err := rpcx.Dial(p.pick())
	if err != nil {
		return nil, err
	}
	if conn != nil {
		_ = conn.Close()
	}
	p.conns[p.next] = fresh
	return fresh, nil
}
