"""Small translations between rows and words."""

import pytest

from watcher.records.rows import name_bytes, name_text, signed, split_path, unsigned


@pytest.mark.parametrize("number", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_inodes_of_64_bits_fit(number: int) -> None:
    """The top bit becomes the sign, and comes back."""
    assert -(2**63) <= signed(number) < 2**63
    assert number == unsigned(signed(number))


@pytest.mark.parametrize(
    ("relative", "expected"),
    [(b"a.jpg", (b"", b"a.jpg")), (b"d/a.jpg", (b"d", b"a.jpg")), (b"d/e/a.jpg", (b"d/e", b"a.jpg"))],
)
def test_paths_are_split_at_the_last_slash(relative: bytes, expected: tuple[bytes, bytes]) -> None:
    """The directory inside the folder, and the name."""
    assert expected == split_path(relative)


@pytest.mark.parametrize("name", ["a.jpg", "ä.jpg", "\udcff.jpg"])
def test_names_come_back_as_they_went_in(name: str) -> None:
    """Bytes of no encoding survive."""
    assert name == name_text(name_bytes(name))
