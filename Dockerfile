# The image with all programs, for those who have an engine; `make image` builds the same without one.
#
#   docker build -t whereabouts:0.1.0 .
#
# For several architectures: docker buildx build --platform linux/amd64,linux/arm64 ...
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN make image-root

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Whereabouts"
LABEL org.opencontainers.image.description="Cluster-wide IP address management for secondary networks: the CNI plugin, its installer and the reconciler"
LABEL org.opencontainers.image.licenses="Apache-2.0"
LABEL org.opencontainers.image.version="${VERSION}"
LABEL org.opencontainers.image.revision="${REVISION}"
LABEL org.opencontainers.image.created="${CREATED}"
COPY --from=build /src/target/image/root/ /
USER 65532:65532
ENTRYPOINT ["/ip-reconciler"]
