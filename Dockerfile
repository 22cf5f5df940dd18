# CML's image: an action (`image: Dockerfile`), a job's container, GitLab's `image:`, or by hand
# `docker run --rm -v "$PWD:/work" -w /work IMAGE cml report`. Plain: any `docker build .` builds it, with BuildKit or
# without.
#
# CML and DVC with every remote live in /opt/cml, apart from the project's packages: the project's `python` and `pip` are
# those of the base image and know nothing of it, and `cml`, `dvc` and `dvc_cml_run` know nothing of the project's
# PYTHONPATH.
FROM python:3.12-slim-bookworm AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /usr/local/bin/uv
# gcc builds one extension that has no wheel (crcmod, for OSS: without it checksums take minutes); strip comes with it.
# Debian's versions are not pinned (DL3008): its mirrors keep none but the newest, so a pin would break the build.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
ENV UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never

COPY requirements/all.txt /build/requirements/
RUN uv venv --quiet --python /usr/local/bin/python3.12 /opt/cml \
 && uv pip install --quiet --python /opt/cml --no-deps --require-hashes \
      --build-constraints /build/requirements/all.txt --requirement /build/requirements/all.txt

# What is left out, with its size, and why nobody misses it:
#   110 MB  Google's descriptions of its 500 services: only Drive's version 2 is asked for (pydrive2)
#    60 MB  of Arrow: Flight, S3, headers, copies of libarrow_python under other names. HDFS needs the rest
#    25 MB  AWS's descriptions of 430 services: S3 and four ways to sign in stay
#    40 MB  symbols of shared libraries, which only a debugger reads
#    20 MB  tests, C and Cython sources, setuptools
WORKDIR /opt/cml/lib/python3.12/site-packages
RUN find googleapiclient/discovery_cache/documents -name '*.json' ! -name 'drive.v2.json' -delete \
 && find botocore/data -mindepth 1 -maxdepth 1 -type d \
      ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -r {} + \
 && rm -r pyarrow/include pyarrow/src pyarrow/includes pyarrow/libarrow_flight.so* pyarrow/libarrow_python_flight.so* \
      pyarrow/_flight.* pyarrow/libarrow_s3.so* pyarrow/_s3fs.* pyarrow/_pyarrow_cpp_tests.* tests Crypto/SelfTest \
      setuptools setuptools-* _distutils_hack distutils-precedence.pth \
 && find pyarrow \( -name 'libarrow*.so' -o -name 'libarrow*.so.*.*' \) -delete \
 && find . -depth -type d \( -name tests -o -name test \) -exec rm -r {} + \
 && find . -type f \( -name '*.c' -o -name '*.h' -o -name '*.pxd' -o -name '*.pyx' -o -name '*.pyi' \) -delete \
 && find . -type f -name '*.so*' -exec strip --strip-unneeded {} + \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash .

COPY pyproject.toml README.md LICENSE /build/
COPY requirements/dev.txt /build/requirements/
COPY templates /build/templates
COPY cml /build/cml
RUN uv build --quiet --wheel --python /opt/cml --require-hashes --build-constraints /build/requirements/dev.txt \
      --out-dir /build/dist /build


FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.title="CML" \
      org.opencontainers.image.description="Continuous machine learning for DVC projects" \
      org.opencontainers.image.licenses="Apache-2.0"
# LOGNAME: DVC asks who runs it, and fails for a user without a name (`docker run --user 1001`, OpenShift).
ENV LANG=C.UTF-8 LOGNAME=root PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
# What CML and DVC call, and OpenMP, without which LightGBM and its like do not start. A compiler would add 250 MB for
# the few projects that build packages: they say `apt-get install -y build-essential` in their setup.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git git-lfs libgomp1 openssh-client \
 && git lfs install --system \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
# apt's lists of packages grow stale within days, so they are not in the image: the first `apt-get install` fetches them,
# also for those who never say `apt-get update`.
RUN printf '%s\n' '#!/bin/sh' \
      'case " $* " in *" install "*) ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || /usr/bin/apt-get -qq update ;; esac' \
      'exec /usr/bin/apt-get "$@"' >/usr/local/bin/apt-get \
 && chmod 755 /usr/local/bin/apt-get
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /uvx /usr/local/bin/
COPY --from=build /opt/cml /opt/cml
COPY --from=build /build/dist /opt/cml/dist
# -I: whatever PYTHONPATH a job sets is for its own Python. The imports prove that nothing is missing, and leave the
# standard library's bytecode behind, which the base image lacks.
RUN uv pip install --quiet --no-cache --offline --no-deps --python /opt/cml /opt/cml/dist/*.whl \
 && rm -r /opt/cml/dist \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/cml/lib/python3.12/site-packages/cml \
 && sed -i '1s/$/ -I/' /opt/cml/bin/cml /opt/cml/bin/dvc /opt/cml/bin/dvc_cml_run \
 && ln -s /opt/cml/bin/cml /opt/cml/bin/dvc /opt/cml/bin/dvc_cml_run /usr/local/bin/ \
 && /opt/cml/bin/python -I -c 'import cml.run, cml.session, dvc.repo, dvc_azure, dvc_gdrive, dvc_gs, dvc_hdfs, dvc_http, dvc_oss, dvc_s3, dvc_ssh, dvc_webdav, dvc_webhdfs, github, gitlab, pyarrow.fs, vl_convert' \
 && rm -rf /root/.cache /root/.config /tmp/* /var/tmp/*
# No ENTRYPOINT: GitLab hands the image a shell as its command, and would hand it to `cml` instead. Without one the same
# image serves GitHub's runner (this command, or a job's own), GitLab's, and `docker run IMAGE cml doctor`. In exec form
# `cml` is process 1 and gets the signals of a cancelled job itself.
CMD ["cml", "run"]
