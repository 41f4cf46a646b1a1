// Package shopv1 is the shop's gRPC API, written by hand: five services whose
// methods take and give a string. No .proto file and no generated code, so that
// one source compiles with every grpc-go version. It knows nothing of dialling.
package shopv1

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Method is a full gRPC method name, as in "/shop.v1.Users/GetUser".
type Method string

// The methods of the shop.
const (
	GetUser       Method = "/shop.v1.Users/GetUser"
	ListAddresses Method = "/shop.v1.Users/ListAddresses"
	CheckStock    Method = "/shop.v1.Stock/Check"
	ReserveStock  Method = "/shop.v1.Stock/Reserve"
	ReleaseStock  Method = "/shop.v1.Stock/Release"
	Authorize     Method = "/shop.v1.Payments/Authorize"
	Capture       Method = "/shop.v1.Payments/Capture"
	Refund        Method = "/shop.v1.Payments/Refund"
	Quote         Method = "/shop.v1.Shipping/Quote"
	Notify        Method = "/shop.v1.Notifications/Send"
)

var methods = []Method{
	GetUser, ListAddresses, CheckStock, ReserveStock, ReleaseStock,
	Authorize, Capture, Refund, Quote, Notify,
}

// split gives "shop.v1.Users" and "GetUser".
func (m Method) split() (service, method string) {
	service, method, _ = strings.Cut(strings.TrimPrefix(string(m), "/"), "/")
	return service, method
}

// Invoke calls method on conn. It sets no deadline: the caller's context has one.
func Invoke(ctx context.Context, conn *grpc.ClientConn, method Method, request string) (string, error) {
	answer := new(wrapperspb.StringValue)
	err := conn.Invoke(ctx, string(method), wrapperspb.String(request), answer, callOptions...)
	return answer.GetValue(), err
}

// Register adds all five services to server. Each method answers its own name and the request.
func Register(server *grpc.Server) {
	services := map[string]*grpc.ServiceDesc{}
	for _, it := range methods {
		service, method := it.split()
		if services[service] == nil {
			services[service] = &grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil)}
		}
		desc := services[service]
		desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: method, Handler: it.serve})
	}
	for _, it := range services {
		server.RegisterService(it, struct{}{})
	}
}

// serve is a grpc.MethodDesc handler, in the form protoc-gen-go-grpc would write.
func (m Method) serve(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
	request := new(wrapperspb.StringValue)
	if err := decode(request); err != nil {
		return nil, err
	}
	answer := func(_ context.Context, request any) (any, error) {
		return wrapperspb.String(string(m) + " " + request.(*wrapperspb.StringValue).GetValue()), nil
	}
	if interceptor == nil {
		return answer(ctx, request)
	}
	return interceptor(ctx, request, &grpc.UnaryServerInfo{Server: srv, FullMethod: string(m)}, answer)
}
