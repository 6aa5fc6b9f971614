# Two images from one build, without a shell and without root:
#
#   docker build --tag portkey-mcp .
#   docker run --interactive --rm --env PORTKEY_API_KEY portkey-mcp
#
# serves one client over standard input and output, the way MCP clients start servers. And
#
#   docker build --target http --tag portkey-mcp:http .
#   docker run --rm --read-only --cap-drop ALL --security-opt no-new-privileges \
#     --volume ./secrets:/run/secrets:ro --env PORTKEY_MCP_AUTH_FILE=/run/secrets/tokens.toml \
#     --publish 127.0.0.1:8787:8787 portkey-mcp:http
#
# serves many over HTTP, with a health check, to callers that have a token. A token file is made by
# `portkey-mcp token new`; docs/deployment.md has more, and deploy/ has it for Compose and Kubernetes.

ARG RUST_VERSION=1.95.0

FROM rust:${RUST_VERSION}-slim-trixie AS build
WORKDIR /build
# The dependencies have a layer of their own, which lasts until the lock file changes.
COPY Cargo.toml Cargo.lock askama.toml build.rs ./
COPY crates/bounded-file/Cargo.toml crates/bounded-file/
COPY crates/concurrency/Cargo.toml crates/concurrency/
COPY crates/file-watch/Cargo.toml crates/file-watch/
COPY crates/journal/Cargo.toml crates/journal/
COPY crates/merge-patch/Cargo.toml crates/merge-patch/
COPY crates/operation/Cargo.toml crates/operation/
COPY crates/policy/Cargo.toml crates/policy/
COPY crates/portkey-api/Cargo.toml crates/portkey-api/
COPY crates/readiness/Cargo.toml crates/readiness/
COPY crates/sandbox/Cargo.toml crates/sandbox/
COPY crates/store/Cargo.toml crates/store/
RUN mkdir src && touch src/lib.rs \
    && for crate in crates/*/; do mkdir "$crate/src" && touch "$crate/src/lib.rs"; done \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --release --locked --features otel,postgres --bin portkey-mcp \
    && rm -r src crates/*/src
COPY policies policies
COPY crates crates
COPY src src
# Cargo goes by the times of files, and ours may be older than the stand-ins above.
RUN touch src/lib.rs src/main.rs crates/*/src/lib.rs \
    && cargo build --release --locked --features otel,postgres --bin portkey-mcp

# The same Debian as above, for the same C library, and the roots of trust for TLS.
FROM gcr.io/distroless/cc-debian13:nonroot AS runtime
ARG VERSION=0.2.0
LABEL org.opencontainers.image.title="portkey-mcp" \
      org.opencontainers.image.description="An MCP server for the Portkey Admin API" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /build/target/release/portkey-mcp /portkey-mcp
# By number, so that an orchestrator can see that it is not root.
USER 65532:65532
ENTRYPOINT ["/portkey-mcp"]

FROM runtime AS http
# Inside a container that is beyond loopback, and so nobody is served without authentication.
ENV PORTKEY_MCP_LISTEN=0.0.0.0:8787 \
    PORTKEY_MCP_AUTH=token
EXPOSE 8787
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=3 \
    CMD ["/portkey-mcp", "health"]
CMD ["http"]

# Last, and so the default. It has no port to ask, and lives as long as its client.
FROM runtime AS stdio
CMD ["stdio"]
