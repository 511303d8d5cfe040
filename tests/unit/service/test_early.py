"""The first moments of the process."""

import pytest

from watcher.service.early import require_linux


@pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
def test_other_systems_get_one_clear_sentence(platform: str) -> None:
    """It says what is missing, which system this is, and what to do; nothing of it is a traceback."""
    with pytest.raises(SystemExit) as told:
        require_linux(platform)

    assert str(told.value).startswith("compressor-watcher needs Linux")
    assert platform in str(told.value)
    assert "container" in str(told.value)


def test_linux_goes_on() -> None:
    """Nothing is said."""
    require_linux("linux")
