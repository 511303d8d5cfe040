"""Signatures as Standard Webhooks has them: judged by its own package."""

from __future__ import annotations

import base64
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from watcher.notify.signing import signed_headers

BODY = '{"file":"stühle.jpg"}'.encode()
SECRETS = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", base64.b64encode(b"0123456789012345678901234").decode().rstrip("=")]


@pytest.mark.parametrize("secret", SECRETS)
def test_the_package_verifies_what_was_signed(secret: str) -> None:
    """With and without prefix and padding."""
    headers = signed_headers("msg_1", BODY, secret, time.time())

    assert Webhook(secret).verify(BODY, headers) == {"file": "stühle.jpg"}
    assert headers["webhook-id"] == "msg_1"


def test_another_secret_body_or_id_is_noticed() -> None:
    """So is an old message that somebody sends again."""
    headers = signed_headers("msg_1", BODY, SECRETS[0], time.time())
    old = signed_headers("msg_1", BODY, SECRETS[0], time.time() - 3600)

    for secret, body, given in (
        (SECRETS[1], BODY, headers),
        (SECRETS[0], BODY + b" ", headers),
        (SECRETS[0], BODY, {**headers, "webhook-id": "msg_2"}),
        (SECRETS[0], BODY, old),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, given)


def test_the_specification_s_own_example() -> None:
    """Known answer of https://www.standardwebhooks.com: any other implementation signs it so."""
    payload = b'{"test": 2432232314}'
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", payload, SECRETS[0], 1614265330)

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_without_a_secret_nothing_is_signed() -> None:
    """Id and time are there all the same."""
    assert signed_headers("msg_1", BODY, "", 12.7) == {"webhook-id": "msg_1", "webhook-timestamp": "12"}
