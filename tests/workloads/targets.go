// The --target flag: whom the clients call.

package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
)

// targets is the value of --target: at least one host:port.
type targets []string

func (t *targets) String() string { return strings.Join(*t, ",") }

// Set replaces the default, so that naming one server means that one alone.
func (t *targets) Set(value string) error {
	list := strings.Split(value, ",")
	for _, it := range list {
		if host, port, err := net.SplitHostPort(it); err != nil || host == "" || port == "" {
			return fmt.Errorf("%q is not host:port, as in shop-server:9000", it)
		}
	}
	*t = list
	return nil
}

func (t *targets) pick() string { return (*t)[rand.IntN(len(*t))] }
