# The image of CML: for the action (`image: Dockerfile`), the container of a job, GitLab's `image:`, or by hand
# `docker run --rm -v "$PWD:/work" -w /work IMAGE cml report`. `docker build .` builds it, with or without BuildKit.
#
# CML and DVC with all storages are in /opt/cml, apart from the packages of the project: `python` and `pip` are those of
# the base image and do not see CML; `cml`, `dvc` and `dvc_cml_run` ignore the PYTHONPATH of the project.
# requirements/image.sh installs everything, also for Dockerfile.gpu.
FROM python:3.12-slim-bookworm AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /usr/local/bin/uv
# gcc builds one extension without a wheel (crcmod for OSS: without it checksums take minutes); strip is part of it.
# The versions of Debian packages are not pinned (DL3008): its mirrors keep only the newest, so a pin would break the
# build.
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
# LOGNAME: DVC reads the user name and fails for a user without one (`docker run --user 1001`, OpenShift).
ENV LANG=C.UTF-8 LOGNAME=root PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements/image.sh /opt/cml/image.sh
RUN sh /opt/cml/image.sh system
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /uvx /usr/local/bin/
COPY --from=build /opt/cml /opt/cml
RUN sh /opt/cml/image.sh finish
# No ENTRYPOINT: GitLab starts the image with a shell as its command, and `cml` would get it as an argument. Without
# one the image works for GitHub, for GitLab, and for `docker run IMAGE cml doctor`. In exec form `cml` is process 1
# and gets the signals of a cancelled job.
CMD ["cml", "run"]
