module grpc-hygiene.io/tests/cluster/pause

go 1.21
