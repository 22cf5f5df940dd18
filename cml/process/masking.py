"""Secrets out of texts: every value of a variable that holds one, in every form we know, becomes `***`.

Pure. Which variables hold a secret say storage's table and `NAME`; what is printed is masked before it is published.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote_plus

from cml.remotes.kinds import VARIABLES, decoded, is_text

MASK = "***"
MINIMUM = 6  # characters of a whole value: "true" and "basic" stay, "hunter2" goes
MINIMUM_PART = 8  # of a line or a JSON value, of which many are words
MAXIMUM_NESTING = 8
LINE_WIDTHS = (76, 64)  # of `base64` and `openssl base64`
MINIMUM_LINE = 16

NAME = re.compile(
    r"TOKEN(?!IZ)|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|PRIVATE|(API|ACCESS|ACCOUNT|SIGNING|ENCRYPTION|DEPLOY|SSH|"
    r"STORAGE|LICENSE)_?KEY|CONNECTION_?STRING|WEBHOOK|AUTHORIZATION|AUTH_CONFIG|JWT|NETRC|KUBECONFIG|COOKIE|"
    r"_(AUTH|PASS|PWD|PAT|DSN|SAS)$",
    re.IGNORECASE,
)
KEY_NAME = re.compile(r"_KEY$", re.IGNORECASE)  # KAGGLE_KEY, but CACHE_KEY too: the value must look like one
KEY = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w+/=-]{16,}")
PLACE_NAME = re.compile(r"_(FILE|PATH|DIR|SOCK|HELPER|URL|URI|ENDPOINT|HOST)(_OVERRIDE)?$", re.IGNORECASE)
COUNT_NAME = re.compile(r"TOKEN", re.IGNORECASE)  # MAX_TOKENS=4096000 is a parameter
COUNT = re.compile(r"[\d.,_eE+-]+")

# Fields of JSON secrets that say nothing: Google's service accounts, users and federations.
PUBLIC_FIELDS = {"type", "universe_domain", "project_id", "quota_project_id", "scopes", "token_type", "token_expiry"}
PUBLIC_FIELDS |= {"user_agent", "audience", "subject_token_type", "_class", "_module"}
PUBLIC_LINE = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]+-----|\[[\w. -]+\]")
ASSIGNMENT = re.compile(r"(?:^|[;&?\s,\"'])([\w.-]*)[\"']?\s*[=:]\s*[\"']?([^;\s\"',]+)")
SIGNATURE = re.compile(r"(?:^|[?&;=])sig=([^&;\s]+)")
USERINFO = re.compile(r"://[^\s/?#\"'<>`\\:@]*:([^\s/?#\"'<>`\\]+)@")
USERINFO_OF_HTTP = re.compile(r"(https?://)[^\s/?#\"'<>`\\]+@", re.IGNORECASE)
USERINFO_OF_ANY = re.compile(r"://[^\s/?#\"'<>`\\:@]*:[^\s/?#\"'<>`\\]+@")


class Masks:
    """The secrets of a run as one expression. It is never shown, not even by `repr`."""

    def __init__(self, *, expression: re.Pattern[str] | None) -> None:
        self.expression = expression

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], extra: Iterable[str] = ()) -> Masks:
        """Masks for the secrets of `environment` and for `extra`, secrets that are not in it any more."""
        secrets = [*extra, *(value for name, value in environment.items() if holds_secret(name, value))]
        for value in environment.values():
            secrets += (unquote_plus(password) for password in USERINFO.findall(value))
        parts = {part for secret in secrets for part in parts_of(secret)}
        forms = {form for part in parts for form in forms_of(part) if len(form) >= MINIMUM}
        return cls(expression=re.compile(_alternation(sorted(forms))) if forms else None)

    def mask(self, text: str) -> str:
        """The text without secrets, and without the user and password of any URL."""
        if self.expression:
            text = self.expression.sub(MASK, text)
        if "://" in text:
            text = USERINFO_OF_ANY.sub(f"://{MASK}@", USERINFO_OF_HTTP.sub(rf"\1{MASK}@", text))
        return text


def holds_secret(name: str, value: str) -> bool:
    """Whether a variable is a secret by storage's table or by its name, and its value no path, address or count."""
    if variable := VARIABLES.get(name):
        return variable.is_secret and (variable.holds == "value" or is_text(decoded(value)))
    if not NAME.search(name):
        return bool(KEY_NAME.search(name) and KEY.fullmatch(value))
    if PLACE_NAME.search(name) and "WEBHOOK" not in name.upper():
        return is_text(decoded(value))
    return not (COUNT_NAME.search(name) and COUNT.fullmatch(value))


def parts_of(secret: str) -> Iterator[str]:
    """A secret and what is one in it: lines, values of JSON, assignments and connection strings, base64's text."""
    if len(stripped := secret.strip()) >= MINIMUM and stripped.strip("*"):
        yield stripped
    texts = {secret, decoded(secret)}
    for whole in (*texts, *(string for text in texts for string in _strings_of_json(text))):
        yield from (part for part in _pieces(whole) if len(part) >= MINIMUM_PART and part.strip("*"))


def forms_of(part: str) -> Iterator[str]:
    """A secret as it is written in shells, JSON, HTML, URLs, Python, base64 (after 0, 1 or 2 bytes) and hex."""
    data = _bytes(part)
    yield from (part, data.decode("utf-8", "replace"))  # how the log reads bytes that are no UTF-8
    for text in (json.dumps(part), json.dumps(part, ensure_ascii=False)):
        yield from (text[1:-1], text[1:-1].replace("/", "\\/"), json.dumps(text[1:-1])[1:-1])
        yield text[1:-1].replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")  # Go's
    yield from (repr(part)[1:-1], shlex.quote(part).strip("'"), html.escape(part), html.escape(part, quote=False))
    yield html.escape(part).replace("&#x27;", "&#39;")
    quoted = [quote(data, safe=safe) for safe in ("", "/", "!'()*", "!'()*;,/?:@&=+$#")]  # the last two JavaScript's
    quoted += [quote_plus(data), quote(quote(data, safe=""), safe="")]
    for text in quoted:
        yield text
        yield re.sub(r"%[0-9A-F]{2}", lambda code: code[0].lower(), text)
    yield from (data.hex(), data.hex().upper())
    for text in _base64_of(data):
        yield from (text, text.translate({ord("+"): "-", ord("/"): "_"}), text.replace("/", "\\/"))
        yield from (quote(text, safe=""), text.replace("+", "%2b").replace("/", "%2f"), quote(text))


def _bytes(text: str) -> bytes:
    """What a variable's text stands for; half a surrogate pair, which JSON can name, is no byte of one."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _base64_of(data: bytes) -> Iterator[str]:
    for offset in range(3):
        bits = 8 * (offset + len(data))
        text = base64.b64encode(bytes(offset) + data).decode()
        yield text[(8 * offset + 5) // 6 : bits // 6]  # only the digits that nothing but the secret decides
    whole = base64.b64encode(data).decode()
    for width in LINE_WIDTHS:
        lines = [whole[at : at + width] for at in range(0, len(whole), width)] if len(whole) > width else []
        yield from (line for line in lines if len(line) >= MINIMUM_LINE)


def _strings_of_json(text: str) -> Iterator[str]:
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
                pending += (value for key, value in fields.items() if not _is_public(str(key)))


def _is_public(key: str) -> bool:
    return key.lower() in PUBLIC_FIELDS or key.lower().endswith(("_uri", "_url"))


def _pieces(text: str) -> Iterator[str]:
    yield text.strip()
    lines = [line.strip() for line in text.splitlines()]
    yield from (line for line in lines if len(lines) > 1 and not PUBLIC_LINE.fullmatch(line))
    if not text.lstrip().startswith("{"):
        yield from (value for key, value in ASSIGNMENT.findall(text) if NAME.search(key))
    for signature in SIGNATURE.findall(text):
        yield from (signature, unquote_plus(signature))
    yield from (unquote_plus(password) for password in USERINFO.findall(text))


def _alternation(forms: list[str], nesting: int = 0) -> str:
    """A trie of the sorted forms as an expression, longest first: a flat alternation is slow for hundreds."""
    if nesting == MAXIMUM_NESTING:
        return "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    groups: dict[str, list[str]] = {}
    for form in forms:
        groups.setdefault(form[:1], []).append(form)
    branches = []
    for first, members in groups.items():
        if not first:
            continue
        prefix = _common_start(members[0], members[-1])
        rest = [member[len(prefix) :] for member in members]
        branches.append(re.escape(prefix) + (f"(?:{_alternation(rest, nesting + 1)})" if any(rest) else ""))
    return "|".join([*branches, ""] if "" in groups else branches)


def _common_start(one: str, other: str) -> str:
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return one[:at]
    return min(one, other, key=len)
