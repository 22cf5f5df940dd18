#!/bin/sh
# The steps that install CML in an image. Dockerfile and Dockerfile.gpu run them.
#
#   image.sh packages LOCK [PYTHON]   installs the locked packages in /opt/cml; without PYTHON it also installs a Python
#   image.sh cml                      builds the wheel of CML from /build and installs it in /opt/cml
#   image.sh system                   installs the system packages that CML and DVC use
#   image.sh finish                   links the programs of /opt/cml/bin into PATH and checks that nothing is missing
set -eu
lib=/opt/cml/lib/python3.12

packages() {
  lock=$1 python=${2:-}
  if [ -z "$python" ]; then
    # A portable Python, because that of the base image may be too old, or the project may change it. uv verifies its
    # checksum.
    UV_PYTHON_INSTALL_DIR=/opt/cml/python
    export UV_PYTHON_INSTALL_DIR
    uv python install --quiet --no-bin 3.12
    python=$(uv python find --managed-python 3.12)
  fi
  uv venv --quiet --allow-existing --python "$python" /opt/cml
  uv pip install --quiet --python /opt/cml --no-deps --require-hashes --build-constraints "$lock" --requirement "$lock"

  # What is removed, with its size and the reason:
  #   110 MB  descriptions of 500 Google services: pydrive2 needs only Drive version 2
  #    60 MB  parts of Arrow: Flight, S3, headers, copies of libarrow_python under other names. HDFS needs the rest
  #    25 MB  descriptions of 430 AWS services: S3 and four services for signing in stay
  #    40 MB  symbols of shared libraries, which only a debugger needs
  #    20 MB  tests, C and Cython sources, setuptools
  cd "$lib/site-packages"
  find googleapiclient/discovery_cache/documents -name '*.json' ! -name 'drive.v2.json' -delete
  find botocore/data -mindepth 1 -maxdepth 1 -type d \
    ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -r {} +
  rm -rf pyarrow/include pyarrow/src pyarrow/includes pyarrow/libarrow_flight.so* pyarrow/libarrow_python_flight.so* \
    pyarrow/_flight.* pyarrow/libarrow_s3.so* pyarrow/_s3fs.* pyarrow/_pyarrow_cpp_tests.* tests Crypto/SelfTest \
    setuptools setuptools-* _distutils_hack distutils-precedence.pth
  find pyarrow \( -name 'libarrow*.so' -o -name 'libarrow*.so.*.*' \) -delete
  find . -depth -type d \( -name tests -o -name test \) -exec rm -r {} +
  find . -type f \( -name '*.c' -o -name '*.h' -o -name '*.pxd' -o -name '*.pyx' -o -name '*.pyi' \) -delete
  # Libraries in *.libs were patched when their wheel was built; strip of Ubuntu 18.04 would break them.
  find . -type f -name '*.so*' ! -path '*.libs/*' -exec strip --strip-unneeded {} +
  compile .

  #    60 MB  parts of the portable Python: its tests, Tk, IDLE, headers, the library for embedding
  if [ -d /opt/cml/python ]; then
    rm -rf /opt/cml/python/.[a-z]*
    cd "$(dirname "$(dirname "$(readlink -f /opt/cml/bin/python)")")"
    ldd bin/python3.12 | grep -q libpython || rm -f lib/libpython3*
    rm -rf include share lib/pkgconfig lib/tcl* lib/tk* lib/itcl* lib/thread* lib/libtcl* lib/libtk*
    cd lib/python3.12
    rm -rf test idlelib turtledemo tkinter ensurepip lib2to3 site-packages/* config-3.12-*
    compile .
  fi
}

compile() {  # bytecode without checks of the source files: no file of an image changes
  /opt/cml/bin/python -I -m compileall -q -j 0 --invalidation-mode unchecked-hash "$1"
}

cml() {
  uv build --quiet --wheel --python /opt/cml --require-hashes --build-constraints /build/requirements/dev.txt \
    --out-dir /build/dist /build
  uv pip install --quiet --no-cache --offline --no-deps --python /opt/cml /build/dist/*.whl
  compile "$lib/site-packages/cml"
  # Compile the templates of the report, so that a run need not do it.
  /opt/cml/bin/python -I - <<'END'
from cml.report.html import render_html
from cml.report.markdown import render_markdown
from cml.model.report import Report
from cml.config.settings import read_settings

report = Report(name="", verdict="none", sha="0" * 40, baseline=None)
form = {"number_format": read_settings({}, {}, is_ci=False).metrics_format, "locale": "en"}
render_markdown(report, **form)
"".join(render_html(report, **form, images={}))
END
  # -I: the PYTHONPATH of a job is for its own Python, not for CML.
  sed -i '1s/$/ -I/' /opt/cml/bin/cml /opt/cml/bin/dvc /opt/cml/bin/dvc_cml_run
}

system() {
  apt-get update
  # libgomp1 (OpenMP): LightGBM and similar packages need it. There is no compiler, which would add 250 MB: projects
  # that build packages run `apt-get install -y build-essential` in their setup.
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    ca-certificates git git-lfs libgomp1 openssh-client
  git lfs install --system
  apt-get clean
  rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
  # The package lists of apt are outdated within days, so the image has none. This wrapper updates them before the first
  # `apt-get install`, so that nobody has to run `apt-get update`.
  cat >/usr/local/bin/apt-get <<'END'
#!/bin/sh
case " $* " in *" install "*) ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || /usr/bin/apt-get -qq update ;; esac
exec /usr/bin/apt-get "$@"
END
  chmod 755 /usr/local/bin/apt-get
}

finish() {
  ln -s /opt/cml/bin/cml /opt/cml/bin/dvc /opt/cml/bin/dvc_cml_run /usr/local/bin/
  # Import what a run imports. This also compiles the standard library of the base image, which slim images do not have.
  for name in cml.run.workflow cml.run.context dvc.repo dvc_azure dvc_gdrive dvc_gs dvc_hdfs dvc_http dvc_oss dvc_s3 dvc_ssh \
    dvc_webdav dvc_webhdfs github gitlab pyarrow.fs vl_convert; do printf 'import %s\n' "$name"; done |
    /opt/cml/bin/python -I -
  rm -rf /root/.cache /root/.config /tmp/* /var/tmp/*
}

"$@"
