"""A stand-in for ubuntu:18.04, for machines without access to a container registry and an Ubuntu mirror.

`python tests/container/gpu_base.py TAG` makes an image from Debian bookworm with the difficult parts of 18.04: Python is
3.6, git is 2.17, and uv's portable Pythons come from a folder of the image, made from this machine's pyenv. The Python
for CML reports glibc 2.27, so that uv selects the same wheels as on 18.04. test_gpu_image.py checks by the symbols of
each library that these wheels load there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PYENV = Path.home() / ".pyenv" / "versions"
OWN = "3.6"  # as 18.04
PORTABLE = ("3.12", "3.8", "3.7")

DOCKERFILE = """\
FROM debian:bookworm-slim AS made
RUN apt-get update && apt-get install -y --no-install-recommends dpkg-dev patchelf
COPY pythons /made/pythons
# A portable Python finds its library relative to its own path.
RUN for top in /made/pythons/*; do \\
      for file in $top/bin/python3* $(find $top -name '*.so*' -type f); do \\
        patchelf --set-rpath '$ORIGIN/../lib:$ORIGIN/../..' $file 2>/dev/null || true; \\
      done; \\
      mkdir -p /made/portable/$(basename $top) && cp -a $top /made/portable/$(basename $top)/python; \\
      tar -C /made/portable/$(basename $top) -czf /made/$(basename $top).tar.gz python; \\
    done
# An empty package with the version of git in 18.04.
RUN mkdir -p /made/git/DEBIAN /made/git/usr/bin /made/apt \\
 && printf '#!/bin/sh\\necho git version 2.17.1\\n' >/made/git/usr/bin/git && chmod 755 /made/git/usr/bin/git \\
 && printf '%s\\n' 'Package: git' 'Version: 1:2.17.1-1ubuntu0.18' 'Architecture: amd64' 'Maintainer: nobody' \\
      'Depends: libcurl3-gnutls, zlib1g' 'Description: git of its time' >/made/git/DEBIAN/control \\
 && dpkg-deb --build /made/git /made/apt/git_2.17.1_amd64.deb \\
 && cd /made/apt && dpkg-scanpackages . >Packages

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends libbz2-1.0 libffi8 liblzma5 libncursesw6 libreadline8 \\
      libsqlite3-0 libssl3 zlib1g && rm -rf /var/lib/apt/lists/*
COPY --from=made /made/*.tar.gz /standin/
COPY --from=made /made/apt /standin/apt
COPY --from=made /made/pythons/OWN_FULL /usr
COPY downloads.py /standin/
RUN ldconfig && python3 --version | grep OWN_FULL && python3 /standin/downloads.py \\
 && echo 'deb [trusted=yes] file:/standin/apt ./' >/etc/apt/sources.list.d/standin.list \\
 && printf 'Package: git\\nPin: origin ""\\nPin-Priority: 1001\\n' >/etc/apt/preferences.d/standin
ENV UV_PYTHON_DOWNLOADS_JSON_URL=/standin/downloads.json
CMD ["bash"]
"""

# uv asks a Python which glibc it runs on.
SITECUSTOMIZE = """\
import os
_confstr = os.confstr
os.confstr = lambda name: "glibc 2.27" if name == "CS_GNU_LIBC_VERSION" else _confstr(name)
"""

# A portable Python's programs find it beside themselves.
SHEBANG = b"""\
#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")/python3" "$0" "$@"
' '''
"""

# The list that uv carries of portable Pythons, with this image's in it.
DOWNLOADS = """\
import hashlib, json, pathlib
found = {}
for file in pathlib.Path("/standin").glob("*.tar.gz"):
    version = file.name[: -len(".tar.gz")]
    major, minor, patch = map(int, version.split("."))
    found["cpython-%s-linux-x86_64-gnu" % version] = {
        "name": "cpython", "arch": {"family": "x86_64", "variant": None}, "os": "linux", "libc": "gnu",
        "major": major, "minor": minor, "patch": patch, "prerelease": "", "variant": None, "build": "20250101",
        "url": file.as_uri(), "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
pathlib.Path("/standin/downloads.json").write_text(json.dumps(found))
"""


def main(tag: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        for series in (*PORTABLE, OWN):
            copy(series, context / "pythons")
        target = context / "pythons" / version_of(PORTABLE[0]) / "lib" / f"python{PORTABLE[0]}" / "sitecustomize.py"
        target.write_text(SITECUSTOMIZE)
        (context / "downloads.py").write_text(DOWNLOADS)
        (context / "Dockerfile").write_text(DOCKERFILE.replace("OWN_FULL", version_of(OWN)))
        subprocess.run(["docker", "build", "--quiet", "--tag", tag, folder], check=True)


def version_of(series: str) -> str:
    found = sorted(PYENV.glob(f"{series}.*"), key=lambda path: [int(part) for part in path.name.split(".")])
    if not found:
        sys.exit(f"error: no Python {series} under {PYENV}, and the stand-in base needs one: pyenv install {series}")
    return found[-1].name


def copy(series: str, target: Path) -> None:
    version = version_of(series)
    shutil.copytree(
        PYENV / version,
        target / version,
        symlinks=True,
        ignore=shutil.ignore_patterns("test", "tests", "__pycache__", "*.a", "idlelib", "tkinter", "share"),
    )
    for package in (target / version / "lib" / f"python{series}" / "site-packages").iterdir():
        if package.is_dir() and not package.name.startswith(("pip", "setuptools", "pkg_resources", "_distutils")):
            shutil.rmtree(package)
    for program in (target / version / "bin").iterdir():
        head, _, rest = program.read_bytes().partition(b"\n")
        if head.startswith(b"#!") and b"python" in head and not program.is_symlink():
            program.write_bytes(SHEBANG + rest)


if __name__ == "__main__":
    main(*sys.argv[1:])
