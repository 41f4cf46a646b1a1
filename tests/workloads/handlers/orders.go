// Package handlers is the business code: call sites that get a connection from
// somewhere and make one call. Three of them have the bug that this program
// exists for. It knows nothing of rates, metrics or how connections are made.
package handlers

import (
	"context"

	"example.com/shop/clients"
	"example.com/shop/load"
	"example.com/shop/rpcx"
	"example.com/shop/shopv1"
)

// Orders is an order service with ten call sites.
type Orders struct {
	// Pick names the server (host:port) of the next call.
	Pick func() string
	// Fixed makes the three leaking call sites use the shared client too.
	Fixed bool
	// Unused makes GetUser and ReserveStock dial and leak as ever, but call through the
	// shared client; notify, whose dialling waits for a connection, does not dial.
	Unused bool
}

// Calls lists the ten call sites, the leaking ones spread among the others.
func (o *Orders) Calls() []load.Call {
	return []load.Call{
		{Name: "GetUser", Do: o.GetUser},
		{Name: "ListAddresses", Do: o.ListAddresses},
		{Name: "CheckStock", Do: o.CheckStock},
		{Name: "ReserveStock", Do: o.ReserveStock},
		{Name: "AuthorizePayment", Do: o.AuthorizePayment},
		{Name: "QuoteShipping", Do: o.QuoteShipping},
		{Name: "notify", Do: o.notify},
		{Name: "CapturePayment", Do: o.CapturePayment},
		{Name: "ReleaseStock", Do: o.ReleaseStock},
		{Name: "RefundPayment", Do: o.RefundPayment},
	}
}

// GetUser leaks: it dials per call and never closes.
func (o *Orders) GetUser(ctx context.Context) error {
	if o.Fixed {
		return o.share(ctx, shopv1.GetUser)
	}
	conn, err := rpcx.Dial(o.Pick())
	if err != nil {
		return err
	}
	if o.Unused {
		return o.share(ctx, shopv1.GetUser)
	}
	_, err = shopv1.Invoke(ctx, conn, shopv1.GetUser, "user-1")
	return err
}

// ReserveStock leaks: it dials per call and never closes.
func (o *Orders) ReserveStock(ctx context.Context) error {
	if o.Fixed {
		return o.share(ctx, shopv1.ReserveStock)
	}
	conn, err := rpcx.Dial(o.Pick())
	if err != nil {
		return err
	}
	if o.Unused {
		return o.share(ctx, shopv1.ReserveStock)
	}
	_, err = shopv1.Invoke(ctx, conn, shopv1.ReserveStock, "sku-1")
	return err
}

// notify leaks: it dials per call, with a time limit that ends nothing, and never closes.
func (o *Orders) notify(ctx context.Context) error {
	if o.Fixed || o.Unused {
		return o.share(ctx, shopv1.Notify)
	}
	conn, err := rpcx.DialDirect(ctx, o.Pick())
	if err != nil {
		return err
	}
	_, err = shopv1.Invoke(ctx, conn, shopv1.Notify, "order-1")
	return err
}

// ListAddresses uses the shared client.
func (o *Orders) ListAddresses(ctx context.Context) error { return o.share(ctx, shopv1.ListAddresses) }

// CheckStock uses the shared client.
func (o *Orders) CheckStock(ctx context.Context) error { return o.share(ctx, shopv1.CheckStock) }

// ReleaseStock uses the shared client.
func (o *Orders) ReleaseStock(ctx context.Context) error { return o.share(ctx, shopv1.ReleaseStock) }

// AuthorizePayment uses the shared client.
func (o *Orders) AuthorizePayment(ctx context.Context) error { return o.share(ctx, shopv1.Authorize) }

// CapturePayment uses the shared client.
func (o *Orders) CapturePayment(ctx context.Context) error { return o.share(ctx, shopv1.Capture) }

// RefundPayment uses the shared client.
func (o *Orders) RefundPayment(ctx context.Context) error { return o.share(ctx, shopv1.Refund) }

// QuoteShipping uses the shared client.
func (o *Orders) QuoteShipping(ctx context.Context) error { return o.share(ctx, shopv1.Quote) }

func (o *Orders) share(ctx context.Context, method shopv1.Method) error {
	conn, err := clients.GetClient(o.Pick())
	if err != nil {
		return err
	}
	_, err = shopv1.Invoke(ctx, conn, method, "order-1")
	return err
}
