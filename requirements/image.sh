#!/bin/sh
# What CML's images hold, told once: Dockerfile and Dockerfile.gpu run these steps, on whatever base they stand on.
#
#   image.sh packages LOCK [PYTHON]   /opt/cml with the lock's packages; without PYTHON it gets a Python of its own
#   image.sh cml                      CML's wheel, built from /build, in /opt/cml
#   image.sh system                   what CML and DVC call, from the base's distribution
#   image.sh finish                   /opt/cml/bin's programs on PATH, and the proof that nothing is missing
set -eu
lib=/opt/cml/lib/python3.12

packages() {
  lock=$1 python=${2:-}
  if [ -z "$python" ]; then
    # A portable build, apart from the base's Python, which may be older, or be changed by the project. uv checks it
    # against the checksums that it carries.
    UV_PYTHON_INSTALL_DIR=/opt/cml/python
    export UV_PYTHON_INSTALL_DIR
    uv python install --quiet --no-bin 3.12
    python=$(uv python find --managed-python 3.12)
  fi
  uv venv --quiet --allow-existing --python "$python" /opt/cml
  uv pip install --quiet --python /opt/cml --no-deps --require-hashes --build-constraints "$lock" --requirement "$lock"

  # What is left out, with its size, and why nobody misses it:
  #   110 MB  Google's descriptions of its 500 services: only Drive's version 2 is asked for (pydrive2)
  #    60 MB  of Arrow: Flight, S3, headers, copies of libarrow_python under other names. HDFS needs the rest
  #    25 MB  AWS's descriptions of 430 services: S3 and four ways to sign in stay
  #    40 MB  symbols of shared libraries, which only a debugger reads
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
  # *.libs are libraries that a wheel's builder has patched; the binutils of Ubuntu 18.04 would break them.
  find . -type f -name '*.so*' ! -path '*.libs/*' -exec strip --strip-unneeded {} +
  compile .

  #    60 MB  of a Python of CML's own: its tests, Tk, IDLE, headers, the library that embeds it
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

compile() {  # bytecode, trusted as it is: no file of an image changes
  /opt/cml/bin/python -I -m compileall -q -j 0 --invalidation-mode unchecked-hash "$1"
}

cml() {
  uv build --quiet --wheel --python /opt/cml --require-hashes --build-constraints /build/requirements/dev.txt \
    --out-dir /build/dist /build
  uv pip install --quiet --no-cache --offline --no-deps --python /opt/cml /build/dist/*.whl
  compile "$lib/site-packages/cml"
  # The report's templates, compiled beside the modules, where a run finds them.
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
  # -I: whatever PYTHONPATH a job sets is for its own Python.
  sed -i '1s/$/ -I/' /opt/cml/bin/cml /opt/cml/bin/dvc /opt/cml/bin/dvc_cml_run
}

system() {
  apt-get update
  # OpenMP: LightGBM and its like do not start without. A compiler would add 250 MB for the few projects that build
  # packages: they say `apt-get install -y build-essential` in their setup.
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    ca-certificates git git-lfs libgomp1 openssh-client
  git lfs install --system
  apt-get clean
  rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
  # apt's lists of packages grow stale within days, so they are not in the image: the first `apt-get install` fetches
  # them, also for those who never say `apt-get update`.
  cat >/usr/local/bin/apt-get <<'END'
#!/bin/sh
case " $* " in *" install "*) ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || /usr/bin/apt-get -qq update ;; esac
exec /usr/bin/apt-get "$@"
END
  chmod 755 /usr/local/bin/apt-get
}

finish() {
  ln -s /opt/cml/bin/cml /opt/cml/bin/dvc /opt/cml/bin/dvc_cml_run /usr/local/bin/
  # Imports what runs import: it also leaves the bytecode of the base's standard library behind, which slim bases lack.
  for name in cml.run.workflow cml.run.context dvc.repo dvc_azure dvc_gdrive dvc_gs dvc_hdfs dvc_http dvc_oss dvc_s3 dvc_ssh \
    dvc_webdav dvc_webhdfs github gitlab pyarrow.fs vl_convert; do printf 'import %s\n' "$name"; done |
    /opt/cml/bin/python -I -
  rm -rf /root/.cache /root/.config /tmp/* /var/tmp/*
}

"$@"
