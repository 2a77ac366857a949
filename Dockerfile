# syntax=docker/dockerfile:1

# homing as one static file in an image of its own: docker build -t homing .
FROM --platform=$BUILDPLATFORM golang:1.26.8-trixie AS build
WORKDIR /src
COPY . .
ARG TARGETOS TARGETARCH
ARG VERSION
# The tag brings the time zones, so that TZ works without their files.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -tags timetzdata -ldflags "-s -w -X main.release=$VERSION" -o /out/homing ./cmd/homing
RUN mkdir /state

FROM scratch
ARG VERSION REVISION CREATED
LABEL org.opencontainers.image.title="homing" \
      org.opencontainers.image.description="Brings mail from Amazon SES home to Dovecot" \
      org.opencontainers.image.source="https://github.com/homing-mail/homing" \
      org.opencontainers.image.documentation="https://github.com/homing-mail/homing#readme" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
# AWS, SNS and mailcow are spoken to by TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/homing /homing
# A new volume takes its owner from here.
COPY --from=build --chown=65532:65532 /state /var/lib/homing
# The one place that is written to, also with a read-only root.
ENV TMPDIR=/var/lib/homing
VOLUME /var/lib/homing
USER 65532:65532
EXPOSE 8025 9025
HEALTHCHECK --interval=30s --timeout=20s --start-period=30s \
    CMD ["/homing", "check", "--health"]
ENTRYPOINT ["/homing"]
CMD ["serve"]
