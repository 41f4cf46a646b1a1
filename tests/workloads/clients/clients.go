// Package clients holds the connections that are meant to live as long as the
// process: the one shared client per server, and the fixed pool. It never dials
// more than that, and nobody closes what it hands out.
package clients

import (
	"sync"

	"google.golang.org/grpc"

	"example.com/shop/rpcx"
)

var (
	mutex  sync.Mutex
	shared = map[string]*grpc.ClientConn{}
)

// GetClient returns the one shared connection to target, made at the first use.
func GetClient(target string) (*grpc.ClientConn, error) {
	mutex.Lock()
	defer mutex.Unlock()
	if conn := shared[target]; conn != nil {
		return conn, nil
	}
	conn, err := rpcx.Dial(target)
	if err != nil {
		return nil, err
	}
	shared[target] = conn
	return conn, nil
}
