# One file, an image a program: docker build --target ingest-api|processor|loadtest .
#
# What is shipped is a base without a shell and one binary. Both bases are pinned by digest; the version of Rust is that
# of rust-toolchain.toml (`make compose-check` compares).

FROM rust:1.95.0-trixie@sha256:f49565f188ee00bc2a18dd418183f2c5f23ef7d6e691890517ed341a598f67c3 AS rust
ENV SQLX_OFFLINE=true
WORKDIR /telex

# cargo-chef makes a layer of the dependencies alone: it stays as long as no Cargo.toml or Cargo.lock changes.
FROM rust AS chef
RUN cargo install --locked --version 0.1.78 cargo-chef

FROM chef AS recipe
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
COPY --from=recipe /telex/recipe.json recipe.json
# What is shipped and nothing else; stripped, because a line table is four fifths of such a binary.
ENV CARGO_PROFILE_RELEASE_STRIP=symbols
RUN cargo chef cook --release --locked --package ingest-api --package loadtest --package processor --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --package ingest-api --package loadtest --package processor --bins

FROM gcr.io/distroless/cc-debian13:nonroot@sha256:e792ab3d241a468a4fd7519ddbbebe66b49b5f365771716ea688ad40b6c6f1c2 AS base
ARG VERSION=unknown
ARG REVISION=unknown
# A stripped binary does not tell its crates; Cargo.lock does, so a bill of materials looks at the context, too.
ARG BUILDKIT_SBOM_SCAN_CONTEXT=true
LABEL org.opencontainers.image.vendor="Telex" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# nonroot, as a number: Kubernetes cannot tell whether a name is root.
USER 65532:65532
WORKDIR /

FROM base AS loadtest
LABEL org.opencontainers.image.title="loadtest" \
      org.opencontainers.image.description="Sends webhooks to an ingest API and reports what came back"
COPY --from=build /telex/target/release/loadtest /usr/local/bin/loadtest
ENTRYPOINT ["/usr/local/bin/loadtest"]
CMD ["--help"]

FROM base AS processor
LABEL org.opencontainers.image.title="processor" \
      org.opencontainers.image.description="Files the topic's records into PostgreSQL, each exactly once"
COPY --from=build /telex/target/release/processor /usr/local/bin/processor
ENV PROCESSOR_ADMIN_LISTEN=0.0.0.0:9102
EXPOSE 9102
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=6 \
    CMD ["/usr/local/bin/processor", "health"]
ENTRYPOINT ["/usr/local/bin/processor"]
CMD ["run"]

FROM base AS ingest-api
LABEL org.opencontainers.image.title="ingest-api" \
      org.opencontainers.image.description="Takes webhooks over HTTP and writes them to the topic"
COPY --from=build /telex/target/release/ingest-api /usr/local/bin/ingest-api
ENV INGEST_LISTEN=0.0.0.0:8080 \
    INGEST_ADMIN_LISTEN=0.0.0.0:9101
EXPOSE 8080 9101
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=6 \
    CMD ["/usr/local/bin/ingest-api", "--health"]
ENTRYPOINT ["/usr/local/bin/ingest-api"]
