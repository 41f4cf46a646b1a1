# syntax=docker/dockerfile:1
# The operator's image: one binary on a minimal base, as a user without rights.
# Both bases are arguments, so that a mirror, or bases made on the spot, can stand in for the public ones.
ARG BUILDER_IMAGE=docker.io/library/rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILDER_IMAGE} AS builder
WORKDIR /src
COPY . .
# The caches outlive this step, so that a rebuild compiles this crate alone; the binary is copied out of them. Cargo
# goes by times, and an older checkout would look unchanged: hence the touch.
RUN --mount=type=cache,id=grpc-hygiene-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=grpc-hygiene-target,target=/src/target \
    touch src/lib.rs src/main.rs \
    && cargo build --release --locked --bin grpc-hygiene \
    && cp target/release/grpc-hygiene /grpc-hygiene

FROM ${RUNTIME_IMAGE}
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="grpc-hygiene" \
      org.opencontainers.image.description="Finds gRPC clients which leak connections, names the cause, alerts, and restarts them safely." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=builder /grpc-hygiene /usr/local/bin/grpc-hygiene
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/grpc-hygiene"]
