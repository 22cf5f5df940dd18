"""Reads the kind and the size of an image from its first bytes, without a library for images."""

from __future__ import annotations

import struct

MAX_BYTES, MAX_PIXELS = 10_000_000, 50_000_000

# JPEG: the markers of a frame header, which contains the size (the others in this range are tables).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def image_size(data: bytes) -> tuple[str, int, int]:
    """Returns an image's kind (png, jpg, gif or webp) and its width and height in pixels.

    Raises ValueError for anything else, for a damaged image, and for one that is too large.
    """
    try:
        kind, (width, height) = _read_size(data)
    except (IndexError, struct.error):
        raise ValueError("the image is damaged") from None
    if len(data) > MAX_BYTES or not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f"the image is too large: {width} x {height} pixels, {len(data) / 1e6:.1f} MB")
    return kind, width, height


def _read_size(data: bytes) -> tuple[str, tuple[int, int]]:
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
        return "png", struct.unpack(">II", data[16:24])
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif", struct.unpack("<HH", data[6:10])
    if data.startswith(b"\xff\xd8\xff"):
        return "jpg", _jpeg_size(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp", _webp_size(data)
    raise ValueError("it is not a PNG, JPEG, GIF, WebP or SVG image")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    place = 2
    while data[place + 1] not in _JPEG_FRAMES:
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    height, width = struct.unpack(">HH", data[place + 5 : place + 9])
    return width, height


def _webp_size(data: bytes) -> tuple[int, int]:
    # Both of these store sizes minus one.
    if data[12:16] == b"VP8X":  # extended
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if data[12:16] == b"VP8L":  # lossless
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF
