"""The first and the last moments of the process."""

import gc
import subprocess
import sys

import pytest

from watcher.service.early import leave, require_linux


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


def test_the_end_looks_through_nothing_once_more() -> None:
    """The interpreter's last collection finds nothing to go through: that took a quarter of what a short command takes."""
    frozen = gc.get_freeze_count()
    try:
        with pytest.raises(SystemExit) as left:
            leave(lambda: None)
        found = gc.get_freeze_count()
    finally:
        gc.unfreeze()

    assert not left.value.code
    assert found > frozen


def test_loading_neither_collects_nor_brings_the_command_of_httpx() -> None:
    """The collector rests while modules are loaded, and passes by what they made; httpx works without rich and pygments."""
    code = (
        "import gc, sys\n"
        "from watcher.service.early import Loading\n"
        "with Loading():\n"
        "    resting = not gc.isenabled()\n"
        "    import httpx\n"
        "assert (resting, gc.isenabled()) == (True, True)\n"
        "assert gc.get_freeze_count() > 10_000\n"
        "assert httpx.Client().build_request('GET', 'http://127.0.0.1/').url.host == '127.0.0.1'\n"
        "assert not {'pygments', 'rich', 'click'} & set(sys.modules)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")
