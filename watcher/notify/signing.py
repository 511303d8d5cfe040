"""The headers of Standard Webhooks (https://www.standardwebhooks.com): id, time, and a signature over both and the body. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from standardwebhooks import Webhook


def signed_headers(identity: str, body: bytes, secret: str, now: float) -> dict[str, str]:
    """What goes with `body`; `now` in Unix seconds. Without a secret nothing is signed."""
    moment = datetime.fromtimestamp(int(now), UTC)
    headers = {"webhook-id": identity, "webhook-timestamp": str(int(now))}
    if secret:
        headers["webhook-signature"] = Webhook(secret).sign(identity, moment, body.decode())
    return headers
