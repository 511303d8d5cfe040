"""A worker process: `python -m watcher.engine.worker PIXELS`. One task a line on stdin, one answer a line on stdout, JSON both.

It is a process of its own, without the parent's memory, environment and secrets, so that a malicious image finds nothing and
takes nothing down. It ends when its stdin ends, hence never outlives its parent.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

from watcher.engine.refusal import Refusal, disk_trouble
from watcher.engine.work import Task, answer

if TYPE_CHECKING:
    from typing import TextIO

_M_ARENA_MAX: Final = -8
_MEMORY_BASE: Final = 3 * 2**29
_BYTES_A_PIXEL: Final = 12
_TRIM_ABOVE_BYTES: Final = 4_000_000


def main() -> None:
    """Serve tasks until stdin ends."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # meant for the engine, which first lets the work under way end
    answers = _private_stdout()
    _limit_memory(int(sys.argv[1]))
    import pyvips  # after the limits, which its threads are to find set

    from watcher.engine import rasters

    rasters.limit_pixels(int(sys.argv[1]))
    pyvips.cache_set_max(0)
    pyvips.block_untrusted_set(True)
    pyvips.operation_block_set("VipsForeignLoadSvg", False)
    _say(answers, {"ready": True})
    for line in sys.stdin:
        _say(answers, run(Task.read(json.loads(line))))


def run(task: Task) -> dict[str, Any]:
    """The answer to a task."""
    from watcher.engine.images import process  # as late as libvips, which it needs

    try:
        return answer(process(task))
    except Refusal as refusal:
        return answer(refusal)
    except OSError as error:
        if (trouble := disk_trouble(error)) is None:
            raise
        return answer(trouble)
    except MemoryError:
        return answer(Refusal(422, "the image needs more memory than it is allowed"))
    except Exception as error:  # noqa: BLE001 - the boundary of one image: no defect over one may cost the worker
        fault = f"{type(error).__name__}: {error}"[:200]
        return answer(
            Refusal(422, f"the engine failed over the image ({fault}); this is a fault of compressor-watcher, please report it")
        )
    finally:
        if task.source.stat().st_size > _TRIM_ABOVE_BYTES:
            ctypes.CDLL(None).malloc_trim(0)


def _say(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _private_stdout() -> TextIO:
    """The pipe to the parent; what libraries print goes to stderr instead."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return pipe


def _limit_memory(pixels: int) -> None:
    """Few heaps, and an end to memory where the largest allowed image has long been served."""
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
    allowed = _MEMORY_BASE + _BYTES_A_PIXEL * pixels
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
