package clients

import (
	"context"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	"example.com/shop/rpcx"
	"example.com/shop/shopv1"
)

// Pool is a fixed number of connections used in turn.
type Pool struct {
	next  atomic.Uint64
	conns []func() (*grpc.ClientConn, error)
}

// NewPool makes a pool of size connections, each to a server that pick names.
// They are dialled at their first use and kept for good.
func NewPool(size int, pick func() string) *Pool {
	pool := &Pool{conns: make([]func() (*grpc.ClientConn, error), size)}
	for i := range pool.conns {
		pool.conns[i] = sync.OnceValues(func() (*grpc.ClientConn, error) { return rpcx.Dial(pick()) })
	}
	return pool
}

// CheckStock asks the stock service over the pool's next connection.
func (p *Pool) CheckStock(ctx context.Context) error {
	conn, err := p.conns[p.next.Add(1)%uint64(len(p.conns))]()
	if err != nil {
		return err
	}
	_, err = shopv1.Invoke(ctx, conn, shopv1.CheckStock, "sku-1")
	return err
}
