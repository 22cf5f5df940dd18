"""`make bench-image IMAGE=NAME`: what an image costs before it does any work. It needs a container engine."""

from __future__ import annotations

import gzip
import json
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

STARTS = 5
SETUP = "uv pip install --quiet --system --target /tmp/site numpy scikit-learn"
CHUNK = 1 << 20


def first_line(image: str) -> float:
    """Returns the median seconds from `docker run` to the first line of `cml --version`."""
    seconds = []
    for _ in range(STARTS):
        start = time.monotonic()
        command = ["docker", "run", "--rm", "--entrypoint", "cml", image, "--version"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            line = child.stdout.readline() if child.stdout else ""
            seconds.append(time.monotonic() - start)
        if not line.startswith("cml "):
            raise RuntimeError(f"{image} says {line!r} to `cml --version`")
    return statistics.median(seconds)


def layers(image: str) -> Iterator[tuple[int, int]]:
    """Returns the size of each layer, and the size of its download: gzip at the default level, as registries use it."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "image.tar")
        subprocess.run(["docker", "save", "--output", str(file), image], check=True)
        with tarfile.open(file) as archive:
            listing = archive.extractfile("manifest.json")
            names = json.load(listing)[0]["Layers"] if listing else []
            for name in names:
                layer = archive.extractfile(name)
                if layer:
                    yield archive.getmember(name).size, _packed(layer)


def _packed(layer: IO[bytes]) -> int:
    with TemporaryDirectory() as folder:
        file = Path(folder, "layer.gz")
        with gzip.open(file, "wb", compresslevel=6) as packed:
            while chunk := layer.read(CHUNK):
                packed.write(chunk)
        return file.stat().st_size


def setup(image: str) -> tuple[float, float]:
    """Returns the seconds of a `setup` that installs packages, with an empty and with a full cache of uv."""
    with TemporaryDirectory() as cache:
        command = ["docker", "run", "--rm", "--volume", f"{cache}:/cache", "--env", "UV_CACHE_DIR=/cache"]
        command += ["--entrypoint", "sh", image, "-ec", SETUP]
        cold, warm = (_seconds(command) for _ in range(2))
        subprocess.run([*command[:-1], "rm -rf /cache/*"], check=True)  # the files belong to root
    return cold, warm


def _seconds(command: list[str]) -> float:
    start = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - start


def main(image: str) -> None:
    print(f"| {image} | |\n| --- | ---: |")
    print(f"| from `docker run` to the first line of `cml --version` | {first_line(image):.2f} s |")
    found = list(layers(image))
    for number, (size, packed) in enumerate(found, start=1):
        print(f"| layer {number} | {size / 1e6:.0f} MB, {packed / 1e6:.0f} MB to pull |")
    print(f"| all | {sum(size for size, _ in found) / 1e6:.0f} MB, {sum(packed for _, packed in found) / 1e6:.0f} MB |")
    try:
        cold, warm = setup(image)
        print(f"| `setup` that installs scikit-learn | {cold:.1f} s cold, {warm:.1f} s warm |")
    except subprocess.CalledProcessError as error:
        print(f"| `setup` that installs scikit-learn | failed: {error.stderr.decode()[-200:]!r} |")


if __name__ == "__main__":
    main(sys.argv[1])
