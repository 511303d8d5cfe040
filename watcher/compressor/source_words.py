"""Whether the words of a refusal say that the API could not get the original. Pure.

Words alone decide nothing: they only make a refusal worth comparing with what this machine knows of the original's fetches
(`delivery.way`). What no word here fits stays what its status says.
"""

from __future__ import annotations

import re
from typing import Final

_COULD_NOT_FETCH: Final = re.compile(
    r"""
      \b(?:un)?(?:fetch|download|retriev|reach|resolv|redirect)\w*      # could not be fetched, unreachable, failed to retrieve
    | \btim(?:e|ed|ing)[ -]?out\b | \btook\ (?:too\ long|longer)\b
    | \bconnect(?:ion|ing|ed)?\b | \bhandshake\b | \btls\b | \bcertificate\b | \bhost\s?name\b | \bdns\b
    | \burls?\b | \bsource(?:'s)?\b | \bgateway\b
    | \b(?:answered|returned|responded|replied)\b.{0,30}\b[345]\d\d\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_OF_SOMETHING_ELSE: Final = re.compile(
    r"""
      \b(?:connectors?|buckets?|regions?|acls?|stor(?:e|es|ed|age|ing)|upload\w*|webhooks?|metadata|parameters?)\b
    | \b(?:too\ (?:large|big|many)|larger|bigger|exceed\w*|unsupported|corrupt\w*|pixels?|resize|compression|quota)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ADDRESS: Final = re.compile(r"https?://\S+", re.IGNORECASE)


def speaks_of_fetching(message: str) -> bool:
    """Whether a message is about fetching the original, as against its content, the request or the object store."""
    words = _ADDRESS.sub("", message)
    return bool(_COULD_NOT_FETCH.search(words)) and not _OF_SOMETHING_ELSE.search(words)
