"""The random words of temporary URLs."""

import base64
from itertools import islice

from watcher.assembly.delivery import WORD_BYTES, WORDS_AT_ONCE, random_words


def test_every_word_has_all_its_bits_and_is_given_out_once() -> None:
    """However many were asked for at once, 256 bits each, in characters that a URL may hold."""
    words = list(islice(random_words(), 5 * WORDS_AT_ONCE // 2))
    assert len(set(words)) == len(words)
    assert {len(base64.urlsafe_b64decode(word + "=")) for word in words} == {WORD_BYTES}
    assert WORD_BYTES * 8 == 256
    assert not set("".join(words)) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
