"""A stand-in for Aliyun's Object Storage Service, with the requests of the documented REST API that DVC makes.

It checks the signature (version 1, HMAC-SHA1 over method, type, date, x-oss headers and resource) and that the date is
within 15 minutes. It has no multipart uploads, versions or ACLs.
"""

from __future__ import annotations

import base64
import datetime
import email.utils
import hashlib
import hmac
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from xml.sax.saxutils import escape

from aiohttp import web
from support.http_gate import HttpServer

KEY_ID, SECRET = "LTAI5tOurOwnKeyId00", "our0wnAccessKeySecret000000000"
SIGNED_PARAMETERS = {"delete", "acl", "uploads", "uploadId", "partNumber", "continuation-token", "bucketInfo"}


class ObjectStorage:
    """Buckets and what is in them, all of one user."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, bytes]] = {}
        self.site = HttpServer(self._answer)

    @property
    def env(self) -> dict[str, str]:
        return {"OSS_ACCESS_KEY_ID": KEY_ID, "OSS_ACCESS_KEY_SECRET": SECRET, "OSS_ENDPOINT": self.site.url}

    def bucket(self) -> str:
        """Makes a new bucket; returns its name."""
        name = f"bucket-{uuid.uuid4().hex}"
        self.buckets[name] = {}
        return name

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if refusal := _refusal(request):
            return refusal
        name, _, key = request.path.lstrip("/").partition("/")
        if not name:
            return _xml("ListAllMyBucketsResult", _buckets(self.buckets))
        objects = self.buckets.get(name)
        if objects is None:
            return _error(404, "NoSuchBucket", "The specified bucket does not exist.")
        if not key and request.method == "GET":
            return _xml("ListBucketResult", _listing(name, objects, request.query))
        if request.method == "PUT":
            objects[key] = body
            return web.Response(headers={"ETag": _etag(body)})
        if request.method == "DELETE":
            objects.pop(key, None)
            return web.Response(status=204)
        if key not in objects:
            return _error(404, "NoSuchKey", "The specified key does not exist.")
        headers = {"ETag": _etag(objects[key]), "Last-Modified": email.utils.formatdate(usegmt=True)}
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(len(objects[key]))})
        span = request.http_range
        is_part = "Range" in request.headers
        return web.Response(status=206 if is_part else 200, body=objects[key][span] if is_part else objects[key])


@contextmanager
def started() -> Iterator[ObjectStorage]:
    storage = ObjectStorage()
    with storage.site:
        yield storage


def _refusal(request: web.Request) -> web.Response | None:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    key_id, _, signature = given.partition(":")
    if kind != "OSS":
        return _error(403, "AccessDenied", "You have no right to access this object because of bucket acl.")
    if key_id != KEY_ID:
        return _error(403, "InvalidAccessKeyId", "The OSS Access Key Id you provided does not exist in our records.")
    date = email.utils.parsedate_to_datetime(request.headers["Date"])
    if abs((datetime.datetime.now(datetime.timezone.utc) - date).total_seconds()) > 900:
        return _error(403, "RequestTimeTooSkewed", "The difference between the request time and now is too large.")
    lines = [request.method, *(request.headers.get(name, "") for name in ("Content-MD5", "Content-Type", "Date"))]
    own = sorted((name.lower(), value) for name, value in request.headers.items() if name.lower().startswith("x-oss-"))
    lines += [f"{name}:{value}" for name, value in own]
    parameters = [
        f"{name}={text}" if text else name for name, text in sorted(request.query.items()) if name in SIGNED_PARAMETERS
    ]
    path = request.path if request.path.count("/") > 1 or request.path == "/" else f"{request.path}/"
    lines.append(path + ("?" + "&".join(parameters) if parameters else ""))
    wanted = base64.b64encode(hmac.digest(SECRET.encode(), "\n".join(lines).encode(), hashlib.sha1)).decode()
    if not hmac.compare_digest(signature, wanted):
        said = "The request signature we calculated does not match the signature you provided."
        return _error(403, "SignatureDoesNotMatch", said)
    return None


def _listing(name: str, objects: dict[str, bytes], query: Mapping[str, str]) -> str:
    prefix, delimiter, marker = (query.get(each, "") for each in ("prefix", "delimiter", "marker"))
    limit = int(query.get("max-keys", "100"))
    entries: dict[str, str] = {}
    for key in sorted(objects):
        if key.startswith(prefix) and key > marker:
            head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            entries.setdefault(prefix + head + cut if cut else key, key if not cut else "")
    shown = list(entries.items())[:limit]
    is_truncated = len(entries) > limit
    text = f"<Name>{name}</Name><Prefix>{escape(prefix)}</Prefix><Marker>{escape(marker)}</Marker>"
    text += f"<MaxKeys>{limit}</MaxKeys><Delimiter>{escape(delimiter)}</Delimiter>"
    text += f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>"
    if is_truncated:
        text += f"<NextMarker>{escape(shown[-1][0])}</NextMarker>"
    for entry, key in shown:
        if key:
            text += f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            text += f"<ETag>{_etag(objects[key])}</ETag><Type>Normal</Type><Size>{len(objects[key])}</Size>"
            text += "<StorageClass>Standard</StorageClass></Contents>"
        else:
            text += f"<CommonPrefixes><Prefix>{escape(entry)}</Prefix></CommonPrefixes>"
    return text


def _buckets(buckets: dict[str, dict[str, bytes]]) -> str:
    each = "<Bucket><CreationDate>2026-01-01T00:00:00.000Z</CreationDate><Location>oss-here</Location><Name>{}</Name>"
    each += "<ExtranetEndpoint>x</ExtranetEndpoint><IntranetEndpoint>x</IntranetEndpoint>"
    each += "<StorageClass>Standard</StorageClass></Bucket>"
    return f"<Buckets>{''.join(each.format(name) for name in buckets)}</Buckets>"


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest().upper()}"'


def _xml(root: str, inside: str, *, status: int = 200) -> web.Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?><{root}>{inside}</{root}>'
    return web.Response(status=status, text=text, content_type="application/xml")


def _error(status: int, code: str, message: str) -> web.Response:
    inside = f"<Code>{code}</Code><Message>{message}</Message><RequestId>{uuid.uuid4().hex}</RequestId>"
    return _xml("Error", inside, status=status)
