"""The HTTP face of the engine: who may call, what a call must look like, and how a refusal looks."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import uuid
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from watcher.compressor.wire import error_body
from watcher.engine.refusal import Refusal
from watcher.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiohttp.typedefs import Handler, Middleware

API_PREFIX: Final = "/1.0"
UNAVAILABLE_SECONDS: Final = 5
"""When to come again where the jobs are not available now."""
MAX_BODY_BYTES: Final = 256 * 1024
_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="Compressor", charset="UTF-8"'}
_log = logging.getLogger(__name__)


class KeyRing:
    """The API keys that open the engine. Holds their digests only; comparing takes the same time for all."""

    def __init__(self, keys: Collection[str]) -> None:
        self._digests = tuple(_digest(key) for key in keys if key)

    def admits(self, authorization: str | None) -> bool:
        """Whether an Authorization header holds a key: Basic (key as user, password empty) or Bearer."""
        key = presented_key(authorization or "")
        if key is None:
            return False
        digest = _digest(key)
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0


def presented_key(authorization: str) -> str | None:
    """The key that an Authorization header presents, or None where it presents none."""
    scheme, _, value = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user if user and not password else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def refused(refusal: Refusal, identity: str | None = None, headers: dict[str, str] | None = None) -> web.Response:
    """The error envelope as a response."""
    sent = dict(headers or {})
    if refusal.retry_after is not None:
        sent["Retry-After"] = str(refusal.retry_after)
    body = error_body(refusal.code, identity or str(uuid.uuid4()), refusal.message)
    return web.json_response(body, status=refusal.code, headers=sent)


def guard(ring: KeyRing) -> Middleware:
    """Middleware: a key for everything below /1.0, and the error envelope for every failure."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if _is_api(request) and not ring.admits(request.headers.get("Authorization")):
            return refused(Refusal(401, "the API key is missing, malformed or not known"), headers=_CHALLENGE)
        try:
            return await handler(request)
        except Refusal as refusal:
            return refused(refusal)
        except Unavailable as error:
            return refused(Refusal(503, error.message, retry_after=UNAVAILABLE_SECONDS))
        except web.HTTPException as error:
            return _from_http(error)
        except Exception:  # noqa: BLE001 - the server's boundary: a defect is one caller's 500, and the log's business
            _log.exception("a request to the engine failed")
            return refused(Refusal(500, "the engine failed; its log says why"))

    return guarded


def _is_api(request: web.Request) -> bool:
    return request.path == API_PREFIX or request.path.startswith(API_PREFIX + "/")


def _from_http(error: web.HTTPException) -> web.Response:
    """What aiohttp itself refuses: unknown paths, methods, bodies that are too large."""
    words = {404: "there is nothing at this address", 405: "this address does not take that method"}
    words[413] = f"the body is larger than {MAX_BODY_BYTES} bytes"
    allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return refused(Refusal(error.status, words.get(error.status, error.reason)), headers=allow)


async def json_body(request: web.Request) -> Any:
    """The JSON of a request. Raises Refusal: 415 unless it is announced as JSON, 400 where it cannot be parsed."""
    if request.content_type != "application/json":
        raise Refusal(415, "the body must be JSON, announced with `Content-Type: application/json`")
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not well-formed JSON") from None


def base_url(request: web.Request) -> str:
    """How the caller reaches this server: scheme, host and port, whatever proxy ends TLS. Only its own answer depends on it."""
    forwarded = request.headers.get("X-Forwarded-Proto", request.scheme)
    return f"{forwarded if forwarded in ('http', 'https') else request.scheme}://{request.host}"
