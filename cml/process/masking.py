"""Masks secrets in text: replaces every secret with `***`, in each encoding that is likely in a log.

Pure: no I/O. The caller says which variables hold secrets; `name_suggests_secret` decides for variables that nobody
knows.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote_plus

from cml.process.secret_text import decode, is_text

MASK = "***"
MINIMUM = 6  # characters of a whole value: "true" and "basic" stay readable, "hunter2" is masked
MINIMUM_PART = 8  # characters of a line or of a JSON value: many of them are ordinary words
MAXIMUM_NESTING = 8  # of the regular expression: Python's compiler recurses
LINE_WIDTHS = (76, 64)  # of `base64` and of `openssl base64`
MINIMUM_LINE = 16

SECRET_NAME = re.compile(
    r"TOKEN(?!IZ)|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|PRIVATE|(API|ACCESS|ACCOUNT|SIGNING|ENCRYPTION|DEPLOY|SSH|"
    r"STORAGE|LICENSE)_?KEY|CONNECTION_?STRING|WEBHOOK|AUTHORIZATION|AUTH_CONFIG|JWT|NETRC|KUBECONFIG|COOKIE|"
    r"_(AUTH|PASS|PWD|PAT|DSN|SAS)$",
    re.IGNORECASE,
)
KEY_NAME = re.compile(r"_KEY$", re.IGNORECASE)  # KAGGLE_KEY, but CACHE_KEY too: the value must look like a key
KEY_VALUE = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w+/=-]{16,}")
PATH_NAME = re.compile(r"_(FILE|PATH|DIR|SOCK|HELPER|URL|URI|ENDPOINT|HOST)(_OVERRIDE)?$", re.IGNORECASE)
COUNT_NAME = re.compile(r"TOKEN", re.IGNORECASE)  # MAX_TOKENS=4096000 is a parameter of a model
COUNT_VALUE = re.compile(r"[\d.,_eE+-]+")

# Fields of JSON credentials that are not secret: Google's service accounts, users and identity federation.
PUBLIC_FIELDS = {"type", "universe_domain", "project_id", "quota_project_id", "scopes", "token_type", "token_expiry"}
PUBLIC_FIELDS |= {"user_agent", "audience", "subject_token_type", "_class", "_module"}
PUBLIC_LINE = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]+-----|\[[\w. -]+\]")  # of PEM and INI files
ASSIGNMENT = re.compile(r"(?:^|[;&?\s,\"'])([\w.-]*)[\"']?\s*[=:]\s*[\"']?([^;\s\"',]+)")
SIGNATURE = re.compile(r"(?:^|[?&;=])sig=([^&;\s]+)")  # of Azure's SAS tokens
URL_PASSWORD = re.compile(r"://[^\s/?#\"'<>`\\:@]*:([^\s/?#\"'<>`\\]+)@")
HTTP_USERINFO = re.compile(r"(https?://)[^\s/?#\"'<>`\\]+@", re.IGNORECASE)
ANY_USERINFO = re.compile(r"://[^\s/?#\"'<>`\\:@]*:[^\s/?#\"'<>`\\]+@")


class Masks:
    """The secrets of a run as one regular expression. Nothing prints it, not even `repr`."""

    def __init__(self, *, expression: re.Pattern[str] | None = None) -> None:
        self.expression = expression

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], *, holds_secret: Callable[[str, str], bool], extra: Iterable[str] = ()
    ) -> Masks:
        """Returns masks for the secrets in `environment` and for `extra`, which are secrets from anywhere else.

        `holds_secret(name, value)` says whether a variable holds a secret.
        """
        secrets = [*extra, *(value for name, value in environment.items() if holds_secret(name, value))]
        # A variable of any name can contain a URL with a password.
        for value in environment.values():
            secrets += (unquote_plus(password) for password in URL_PASSWORD.findall(value))
        parts = {part for secret in secrets for part in split_secret(secret)}
        # A short form may be a word that is in every log.
        forms = {form for part in parts for form in encode_secret(part) if len(form) >= MINIMUM}
        return cls(expression=re.compile(_alternation(sorted(forms))) if forms else None)

    def mask(self, text: str) -> str:
        """Returns the text without secrets, and without the user and the password of any URL."""
        if self.expression:
            text = self.expression.sub(MASK, text)
        # A password in a URL need not come from a variable: git and libraries print the URLs of their configuration.
        if "://" in text:
            text = HTTP_USERINFO.sub(rf"\1{MASK}@", text)
            text = ANY_USERINFO.sub(f"://{MASK}@", text)
        return text


def name_suggests_secret(name: str, value: str) -> bool:
    """Whether a variable is named like a secret and its value is not a path, an address or a number."""
    if not SECRET_NAME.search(name):
        return bool(KEY_NAME.search(name) and KEY_VALUE.fullmatch(value))
    if PATH_NAME.search(name) and "WEBHOOK" not in name.upper():  # whoever knows the URL of a webhook can use it
        return is_text(decode(value))
    return not (COUNT_NAME.search(name) and COUNT_VALUE.fullmatch(value))


def split_secret(secret: str) -> Iterator[str]:
    """Yields a secret and the secrets inside it: lines, strings of JSON, parts of connection strings.

    A log may show any of them alone: a private key line by line, for example.
    """
    # A value of asterisks only is a secret that somebody has masked before. As a mask it would match bold Markdown.
    if len(stripped := secret.strip()) >= MINIMUM and stripped.strip("*"):
        yield stripped
    texts = {secret, decode(secret)}
    for whole in (*texts, *(string for text in texts for string in _json_strings(text))):
        yield from (part for part in _split_text(whole) if len(part) >= MINIMUM_PART and part.strip("*"))


def encode_secret(part: str) -> Iterator[str]:
    """Yields a secret as logs may show it: in shell, JSON, HTML, URLs, Python, base64 and hex."""
    data = _to_bytes(part)
    yield from (part, data.decode("utf-8", "replace"))  # the second: how the log shows bytes that are not UTF-8
    yield from _in_json(part)
    yield from (repr(part)[1:-1], shlex.quote(part).strip("'"))
    yield from (html.escape(part), html.escape(part, quote=False))
    yield html.escape(part).replace("&#x27;", "&#39;")  # Jinja's and Go's form of the apostrophe
    yield from _in_urls(data)
    yield from (data.hex(), data.hex().upper())
    for text in _in_base64(data):
        yield from (text, text.translate({ord("+"): "-", ord("/"): "_"}), text.replace("/", "\\/"))
        yield from (quote(text, safe=""), text.replace("+", "%2b").replace("/", "%2f"), quote(text))


def _to_bytes(text: str) -> bytes:
    """The bytes of an environment variable, which Python shows as text with surrogates where they are not UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # JSON can contain half a surrogate pair, which is not such a byte
        return text.encode("utf-8", "surrogatepass")


def _in_json(part: str) -> Iterator[str]:
    for literal in (json.dumps(part), json.dumps(part, ensure_ascii=False)):
        text = literal[1:-1]
        yield from (text, text.replace("/", "\\/"))
        yield json.dumps(text)[1:-1]  # JSON inside JSON
        yield text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")  # as Go writes it


def _in_urls(data: bytes) -> Iterator[str]:
    # The last two are encodeURIComponent and encodeURI of JavaScript.
    texts = [quote(data, safe=safe) for safe in ("", "/", "!'()*", "!'()*;,/?:@&=+$#")]
    texts += [quote_plus(data), quote(quote(data, safe=""), safe="")]
    for text in texts:
        yield text
        yield re.sub(r"%[0-9A-F]{2}", lambda code: code[0].lower(), text)


def _in_base64(data: bytes) -> Iterator[str]:
    """The secret in base64, also in the middle of a longer text: `user:TOKEN` of an HTTP header, for example.

    Base64 encodes three bytes as four digits, so there are three forms, for 0, 1 or 2 bytes before the secret. The
    first and the last digit may depend on the bytes around it and are left out.
    """
    for offset in range(3):
        bits = 8 * (offset + len(data))
        text = base64.b64encode(bytes(offset) + data).decode()
        yield text[(8 * offset + 5) // 6 : bits // 6]
    whole = base64.b64encode(data).decode()
    for width in LINE_WIDTHS:
        lines = [whole[at : at + width] for at in range(0, len(whole), width)] if len(whole) > width else []
        yield from (line for line in lines if len(line) >= MINIMUM_LINE)


def _json_strings(text: str) -> Iterator[str]:
    """All strings in a JSON document, except those of public fields; nothing when it is not JSON."""
    try:
        pending: list[object] = [json.loads(text)] if text.lstrip()[:1] in ("{", "[") else []
    except (ValueError, RecursionError):
        return
    while pending:
        match pending.pop():
            case str(string):
                yield string
            case list(items):
                pending += items
            case dict(fields):
                pending += (value for key, value in fields.items() if not _is_public_field(str(key)))


def _is_public_field(key: str) -> bool:
    return key.lower() in PUBLIC_FIELDS or key.lower().endswith(("_uri", "_url"))


def _split_text(text: str) -> Iterator[str]:
    yield text.strip()
    lines = [line.strip() for line in text.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if not PUBLIC_LINE.fullmatch(line))
    # Not in JSON: there `_json_strings` knows which fields are public.
    if not text.lstrip().startswith("{"):
        yield from (value for key, value in ASSIGNMENT.findall(text) if SECRET_NAME.search(key))
    for signature in SIGNATURE.findall(text):
        yield from (signature, unquote_plus(signature))
    yield from (unquote_plus(password) for password in URL_PASSWORD.findall(text))


def _alternation(forms: list[str], nesting: int = 0) -> str:
    """Returns an expression that matches any of the sorted forms, the longest first.

    It is built as a trie: a flat list of alternatives is slow for hundreds of forms.
    """
    if nesting == MAXIMUM_NESTING:
        return "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    groups: dict[str, list[str]] = {}
    for form in forms:
        groups.setdefault(form[:1], []).append(form)
    branches = []
    for first, members in groups.items():
        if not first:  # a form that ends here; its branch is empty and comes last, so that the longer ones win
            continue
        prefix = _common_prefix(members[0], members[-1])  # sorted: all between them share it
        rest = [member[len(prefix) :] for member in members]
        branches.append(re.escape(prefix) + (f"(?:{_alternation(rest, nesting + 1)})" if any(rest) else ""))
    return "|".join([*branches, ""] if "" in groups else branches)


def _common_prefix(one: str, other: str) -> str:
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return one[:at]
    return min(one, other, key=len)
