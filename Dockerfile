# One image for the three programs: azwi-webhook (the entry point, also /manager), azwi-proxy (also /proxy) and azwi.
#
#   system     the files of Debian's python3 and iptables that are needed to run them: /root-of-image
#   libraries  the locked packages in a virtual environment, nothing built from source: /opt/azwi
#   program    this project's wheel, installed as for /opt/azwi:                       /program
#   final      FROM scratch: those three and nothing else. No shell, package manager, compiler or pip.
#
# BASE is Debian 12 or newer, or an image based on it; pin it by digest for a release. BUILD_BASE needs the same Python,
# so it defaults to BASE. Both use their own apt configuration. pip reads the secret `pip` as its configuration and finds
# the secret `ca` at /run/secrets/ca. See docs/install/image.md.

ARG BASE=debian:trixie-slim
ARG BUILD_BASE=${BASE}

FROM ${BASE} AS system
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get upgrade --yes --quiet \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends \
        ca-certificates iptables python3
COPY scripts/image_root.py /
RUN PYTHONHASHSEED=0 python3 /image_root.py /root-of-image base-files ca-certificates iptables python3

FROM ${BUILD_BASE} AS libraries
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get upgrade --yes --quiet \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends binutils python3-venv
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# /build has pip and the build backend. /opt/azwi, which goes into the image, has neither.
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/azwi
COPY requirements/image.txt /requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    /build/bin/pip --python /opt/azwi/bin/python install --quiet --no-compile \
        --require-hashes --only-binary :all: --requirement /requirements/image.txt
COPY scripts/image_slim.py /
RUN PYTHONHASHSEED=0 python3 /image_slim.py /opt/azwi

FROM libraries AS program
COPY requirements/build.txt /requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    /build/bin/pip install --quiet --require-hashes --only-binary :all: --requirement /requirements/build.txt
COPY pyproject.toml README.md LICENSE /source/
COPY azure_workload_identity /source/azure_workload_identity
COPY webhook /source/webhook
COPY certs /source/certs
COPY imds_proxy /source/imds_proxy
COPY azwi_cli /source/azwi_cli
RUN /build/bin/pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir /wheel /source \
    && /build/bin/pip --python /opt/azwi/bin/python install --quiet --no-compile --no-deps --no-index \
        --root /program /wheel/*.whl \
    && PYTHONHASHSEED=0 python3 /image_slim.py /program/opt/azwi \
    # v1.6.0's chart and the injected containers start the programs by these names.
    && ln -s opt/azwi/bin/azwi-webhook /program/manager \
    && ln -s opt/azwi/bin/azwi-proxy /program/proxy

FROM scratch
COPY --from=system /root-of-image /
COPY --from=libraries /opt/azwi /opt/azwi
COPY --from=program /program /

ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="azwi" \
      org.opencontainers.image.description="Azure Workload Identity for Kubernetes: admission webhook, proxy and command line" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${BASE}"

# The root may be read-only: neither the programs nor Python write to it. TLS trusts the certificate authorities of BASE:
# OpenSSL loads the ones that a connection needs from the directory; requests, which has its own, is given the bundle.
ENV PATH=/opt/azwi/bin:/usr/sbin:/usr/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SSL_CERT_DIR=/etc/ssl/certs \
    REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt \
    AZWI_GIT_COMMIT=${REVISION} \
    AZWI_BUILD_DATE=${CREATED}

# No HEALTHCHECK, on purpose: Kubernetes ignores it, the chart's probes request /healthz and /readyz, and an exec check
# would start a second Python every few seconds.
USER 65532:65532
EXPOSE 9443 9440 8095 8000
ENTRYPOINT ["/opt/azwi/bin/azwi-webhook"]
