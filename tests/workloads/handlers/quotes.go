package handlers

import (
	"context"

	"example.com/shop/rpcx"
	"example.com/shop/shopv1"
)

// Quotes dials per call but closes what it dialled: churn, not a leak.
type Quotes struct {
	// Pick names the server (host:port) of the next call.
	Pick func() string
}

// Quote makes one call over a connection of its own.
func (q *Quotes) Quote(ctx context.Context) error {
	conn, err := rpcx.Dial(q.Pick())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = shopv1.Invoke(ctx, conn, shopv1.Quote, "order-1")
	return err
}
