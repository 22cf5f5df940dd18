"""The text of a secret, in whichever form somebody pasted it into a variable."""

from __future__ import annotations

import base64
import re
from contextlib import suppress

# What no path looks like: JSON, PEM, a JWT, a line of known_hosts, several lines.
_TEXT = re.compile(r"\A\s*(\{|-----BEGIN |eyJ[\w-]+\.[\w-]+\.[\w-]+\s*\Z|[^/~.\s]\S*[ \t])|\S\s*\n\s*\S")


def decode(value: str) -> str:
    """Returns JSON or PEM decoded from base64, and a PEM on one line with its escaped line breaks as real ones.

    Every other value is returned unchanged.
    """
    with suppress(ValueError):
        text = base64.b64decode("".join(value.split()), validate=True).decode()
        value = text if text.lstrip().startswith(("{", "-----BEGIN ")) else value
    is_one_line = value.startswith("-----BEGIN ") and "\n" not in value.strip()
    return value.replace("\\n", "\n") if is_one_line else value


def is_text(value: str) -> bool:
    """Whether the value of a variable for a file looks like the text of the file, not like its path."""
    return bool(_TEXT.search(value))
