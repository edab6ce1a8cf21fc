# The image: one static program and an empty data directory, nothing else. Built by `docker compose up --build`.
#
#   docker build --build-arg BUILD_COMMIT="$(git rev-parse --short=12 HEAD)" -t emptyserver .

FROM rust:1.95-slim-bookworm AS build
# ring, SQLite and Lua are C; the slim image has a compiler already, and make is not needed.
WORKDIR /build
# A static program: glibc and all, so that the last stage needs no system. The build compiles for the machine that it runs on:
# on arm64 the image is an arm64 one (docs/container.md).
ENV RUSTFLAGS="-C target-feature=+crt-static" \
    CARGO_TERM_COLOR=never

# The dependencies, in a layer of their own that only their versions change: built for a program that does nothing.
COPY .cargo/config.toml .cargo/config.toml
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches examples \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && for name in resp storage; do echo 'fn main() {}' > "benches/$name.rs"; done \
    && mkdir benches/versus && echo 'fn main() {}' > benches/versus/main.rs \
    && target="$(rustc --print host-tuple)" \
    && cargo build --release --locked --target "$target" --bin emptyserver \
    && rm -r src

COPY build.rs ./
COPY src src
ARG BUILD_COMMIT=unknown
# The times of the files that were copied are older than what was built for the empty program.
RUN target="$(rustc --print host-tuple)" \
    && find src build.rs -exec touch {} + \
    && BUILD_COMMIT="$BUILD_COMMIT" cargo build --release --locked --target "$target" --bin emptyserver \
    && strip -o /emptyserver "target/$target/release/emptyserver"
RUN mkdir -p /volume/data && chmod 0775 /volume/data

FROM scratch
ARG BUILD_COMMIT=unknown
LABEL org.opencontainers.image.title="emptyServer" \
      org.opencontainers.image.description="A durable key-value service that any Redis client can talk to" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${BUILD_COMMIT}"
COPY --from=build /emptyserver /emptyserver
# For the client alone: the authorities that `emptyserver cli -u rediss://…` trusts. The service makes no such connection.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
# Copied from above it, so that it keeps its mode. Group 0 may write: a platform that runs it as any user in that group
# (OpenShift) needs nothing more. No VOLUME: data in a volume that nobody has named is data that nobody finds again.
COPY --from=build --chown=10001:0 /volume /
ENV EMPTYSERVER_LISTEN=0.0.0.0:6379 \
    EMPTYSERVER_ADMIN_LISTEN=0.0.0.0:9180 \
    EMPTYSERVER_DATA=/data
USER 10001:0
WORKDIR /data
EXPOSE 6379 9180
# An orderly end: what is in flight is answered, all is in the file.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["/emptyserver", "health"]
ENTRYPOINT ["/emptyserver"]
