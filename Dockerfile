# CML's image: an action (`image: Dockerfile`), a job's container, GitLab's `image:`, or by hand
# `docker run --rm -v "$PWD:/work" -w /work IMAGE cml report`. Plain: any `docker build .` builds it, with BuildKit or
# without.
#
# CML and DVC with every remote live in /opt/cml, apart from the project's packages: the project's `python` and `pip` are
# those of the base image and know nothing of it, and `cml`, `dvc` and `dvc_cml_run` know nothing of the project's
# PYTHONPATH. What is in it, requirements/image.sh says, for Dockerfile.gpu as well.
FROM python:3.12-slim-bookworm AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /usr/local/bin/uv
# gcc builds one extension that has no wheel (crcmod, for OSS: without it checksums take minutes); strip comes with it.
# Debian's versions are not pinned (DL3008): its mirrors keep none but the newest, so a pin would break the build.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
ENV UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
COPY requirements/image.sh requirements/all.txt /build/requirements/
RUN sh /build/requirements/image.sh packages /build/requirements/all.txt /usr/local/bin/python3.12
COPY pyproject.toml README.md LICENSE /build/
COPY requirements/dev.txt /build/requirements/
COPY templates /build/templates
COPY cml /build/cml
RUN sh /build/requirements/image.sh cml


FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.title="CML" \
      org.opencontainers.image.description="Continuous machine learning for DVC projects" \
      org.opencontainers.image.licenses="Apache-2.0"
# LOGNAME: DVC asks who runs it, and fails for a user without a name (`docker run --user 1001`, OpenShift).
ENV LANG=C.UTF-8 LOGNAME=root PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements/image.sh /opt/cml/image.sh
RUN sh /opt/cml/image.sh system
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /uvx /usr/local/bin/
COPY --from=build /opt/cml /opt/cml
RUN sh /opt/cml/image.sh finish
# No ENTRYPOINT: GitLab hands the image a shell as its command, and would hand it to `cml` instead. Without one the same
# image serves GitHub's runner (this command, or a job's own), GitLab's, and `docker run IMAGE cml doctor`. In exec form
# `cml` is process 1 and gets the signals of a cancelled job itself.
CMD ["cml", "run"]
