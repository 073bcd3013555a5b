# The agent in an image: Debian, and a binary of 62 MB. `docker build .`, or by way of compose.yaml.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked -p brotr && cp target/release/brotr /brotr

FROM debian:bookworm-slim
RUN useradd --uid 1000 --create-home --home-dir /data brotr
COPY --from=build /brotr /usr/local/bin/brotr
USER 1000
WORKDIR /data
VOLUME /data
ENV BROTR_HTTP__LISTEN=0.0.0.0:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
# The shell's own way to ask: the image has no curl.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && head -n1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["brotr"]
CMD ["run"]
