# The image of every process of mall: one static binary and nothing else. `make image` builds it; for several platforms
# `docker buildx build --platform linux/amd64,linux/arm64 .` builds each natively, or under QEMU where there is none.

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY proto proto
COPY etc etc
COPY crates crates
# glibc linked in: the allocator and the resolver are those that are measured and tested elsewhere. The flag needs a target,
# or it would be for macros of the compiler, too. Registry and build stay in the builder's cache, one for each platform.
ARG TARGETARCH
RUN --mount=type=cache,id=mall-registry,sharing=locked,target=/usr/local/cargo/registry \
    --mount=type=cache,id=mall-target-${TARGETARCH},sharing=locked,target=/build/target \
    set -eu; \
    target="$(uname -m)-unknown-linux-gnu"; \
    RUSTFLAGS="-C target-feature=+crt-static" \
        cargo build --release --locked --package mall --no-default-features --target "$target"; \
    install -D "target/$target/release/mall" /image/usr/local/bin/mall; \
    install -D --mode=0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt; \
    echo "mall:x:10001:10001::/:/sbin/nologin" > /image/etc/passwd; \
    echo "hosts: files dns" > /image/etc/nsswitch.conf

FROM scratch
COPY --from=build /image /
USER 10001:10001
ENTRYPOINT ["/usr/local/bin/mall"]
CMD ["--help"]

# Last, for they change with each commit.
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="mall" \
      org.opencontainers.image.description="An online shop as gRPC services, every request traced from end to end" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"
