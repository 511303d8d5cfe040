"""The engine, over HTTP with fetching, hashing and storing, against vipsthumbnail and sharp on the same image work.

    python -m benchmarks.engine [--quick]

Photographs of 12 megapixels are brought into 1600 x 1600 as JPEG. The others get files and write files, and nothing else; their
quality is set so that encoding costs them as much likeness (SSIM of the JPEG and the same pixels stored losslessly) as it costs
the engine. Two images at a time for all. sharp is installed from npm into .cache/sharp on first use.
"""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from benchmarks.common import (
    Figure,
    Missing,
    at_least,
    child,
    cpu_seconds,
    interleaved,
    median_ratio,
    not_measured,
    photographs,
    say,
    table,
    wait_for,
)
from benchmarks.engine_quality import prepared, ssim
from benchmarks.sharp import SHARP, need_sharp
from tests.support.daemon import COMMAND, clean_environment, write_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIDE = 1600
AT_ONCE = 2
KEY = "bench"
LOSSLESS = 0
"""In place of a quality: a PNG."""
SHARP_SCRIPT = """
const sharp = require('sharp'); const path = require('path');
const [quality, out, ...files] = process.argv.slice(1);
sharp.concurrency(1); sharp.cache(false);
const work = async () => { for (let file; (file = files.pop());) {
  await sharp(file).rotate().resize(SIDE, SIDE, {fit: 'inside', withoutEnlargement: true})
    [+quality ? 'jpeg' : 'png'](+quality ? {quality: +quality} : {})
    .toFile(path.join(out, path.parse(file).name + (+quality ? '.jpg' : '.png'))); } };
const started = process.hrtime.bigint();
Promise.all(Array.from({length: AT_ONCE}, work)).then(() => console.log(Number(process.hrtime.bigint() - started) / 1e9));
""".replace("SIDE", str(SIDE)).replace("AT_ONCE", str(AT_ONCE))


# --- the engine -------------------------------------------------------------------------------------------------------------


@contextmanager
def engine(folder: Path) -> Iterator[tuple[str, int]]:
    """The `engine` command, storing into a directory; its API's address, and its process."""
    settings = {
        "listen": "127.0.0.1:0",
        "api_keys": [KEY],
        "allow_private": ["127.0.0.0/8"],
        "concurrency": AT_ONCE,
        "connectors": {"c": {"kind": "directory", "path": folder / "bucket"}},
    }
    config = write_config(folder / "config.toml", {"state_dir": folder / "state", "engine": settings})
    log = folder / "engine.log"
    with log.open("wb") as errors:
        process = subprocess.Popen([COMMAND, "engine", "--config", config], stderr=errors, env=clean_environment())
    try:
        wait_for(lambda: b"listening on" in log.read_bytes() or process.poll() is not None, "the engine's start")
        yield log.read_text().split("listening on ")[1].split()[0], process.pid
    finally:
        process.terminate()
        process.wait(30)


def ask(api: str, source: str, name: str) -> dict[str, Any]:
    """One order, to its answer, whose hash is looked at."""
    order = {
        "url": f"{source}/{name}",
        "image": {"resize": {"width": SIDE, "height": SIDE}},
        "store": {"id": "c", "bucket": "bench", "region": "eu-central-003", "path": name},
    }
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    with urllib.request.urlopen(urllib.request.Request(f"{api}/fetch", json.dumps(order).encode(), headers)) as answer:
        return dict(json.load(answer))


def through_engine(api: str, source: str, files: list[Path]) -> float:
    """Images a second."""
    started = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE * 2) as pool:
        list(pool.map(lambda file: ask(api, source, file.name), files))
    return len(files) / (time.perf_counter() - started)


def family_cpu(pid: int) -> float:
    """Processor seconds of a process and its children, so far."""
    children = [int(each) for task in Path(f"/proc/{pid}/task").iterdir() for each in (task / "children").read_text().split()]
    return cpu_seconds(pid) + sum(map(family_cpu, children))


def children_cpu() -> float:
    """Processor seconds of all our children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --- the others -------------------------------------------------------------------------------------------------------------


def through_vipsthumbnail(quality: int, out: Path, files: list[Path]) -> float:
    """Images a second of as many processes as images at once."""
    target = f"{out}/%s.jpg[Q={quality},optimize_coding,strip]" if quality != LOSSLESS else f"{out}/%s.png"
    options = ["--size", f"{SIDE}x{SIDE}>", "--rotate", "-o", target]
    started = time.perf_counter()
    shares = [files[number::AT_ONCE] for number in range(AT_ONCE) if files[number::AT_ONCE]]
    for process in [subprocess.Popen(["vipsthumbnail", *share, *options], stderr=subprocess.DEVNULL) for share in shares]:
        if process.wait():
            raise RuntimeError("vipsthumbnail failed")
    return len(files) / (time.perf_counter() - started)


def through_sharp(quality: int, out: Path, files: list[Path]) -> float:
    """Images a second, without the start of node."""
    command = ["node", "-e", SHARP_SCRIPT, str(quality), str(out), *map(str, files)]
    done = subprocess.run(command, cwd=SHARP, capture_output=True, text=True, check=True)
    return len(files) / float(done.stdout)


def need_vipsthumbnail() -> None:
    """Raises Missing."""
    if shutil.which("vipsthumbnail") is None:
        raise Missing("vipsthumbnail is missing: apt install libvips-tools")


# --- equal quality ----------------------------------------------------------------------------------------------------------


def likeness(lossless: Path, output: Path) -> float:
    """SSIM of an output and the same pixels before they were encoded (brought to 1600 x 1600 if they are not)."""
    import pyvips

    pyvips.cache_set_max(0)  # files of one name are written again and again
    return ssim(prepared(lossless), pyvips.Image.new_from_file(str(output)))


def equal_quality(run: Callable[[int, Path, list[Path]], float], original: Path, wanted: float, out: Path) -> int:
    """The lowest quality at which encoding leaves as much likeness as `wanted`."""
    run(LOSSLESS, out, [original])
    lossless = out / f"{original.stem}.png"
    low, high = 40, 98
    while low < high:
        middle = (low + high) // 2
        run(middle, out, [original])
        if likeness(lossless, out / original.name) < wanted:
            low = middle + 1
        else:
            high = middle
    return low


RUNS: dict[str, tuple[Callable[[], None], Callable[[int, Path, list[Path]], float], float]] = {
    "vipsthumbnail": (need_vipsthumbnail, through_vipsthumbnail, 1.0),
    "sharp": (need_sharp, through_sharp, 0.8),
}
"""The others: what they need, how they run, and the bar."""


def fitted(name: str, original: Path, wanted: float, out: Path) -> int:
    """The contender's quality. Raises Missing."""
    need, run, _ = RUNS[name]
    need()
    out.mkdir()
    quality = equal_quality(run, original, wanted, out)
    say(f"  {name}: quality {quality} for SSIM {wanted:.4f}; {(out / original.name).stat().st_size} bytes")
    return quality


def checked_output(api: str, source: str, original: Path) -> Path:
    """The engine's output for a photograph, whose hash is what the answer says."""
    answer = ask(api, source, original.name)
    stored = Path(unquote(urlsplit(answer["url"]).path))
    if hashlib.sha1(stored.read_bytes(), usedforsecurity=False).hexdigest() != answer["output"]["sha1"]:
        raise RuntimeError("the engine's answer is not true")
    say(f"  engine: {stored.stat().st_size} bytes")
    return stored


def measure(quick: bool = False) -> list[Figure]:
    """The figures."""
    count, repeats = (4, 1) if quick else (12, 5)
    costs: dict[str, list[float]] = defaultdict(list)
    missing: dict[str, str] = {}

    def charged(name: str, spent: Callable[[], float], run: Callable[[], float]) -> float:
        before, rate = spent(), run()
        costs[name].append((spent() - before) / count)
        return rate

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = photographs(folder / "photographs", count, 4000, 3000)
        api, pid = stack.enter_context(engine(folder))
        _, said = stack.enter_context(child("benchmarks.bare", folder / "photographs", "http://127.0.0.1:9", "--key", "none"))
        wanted = likeness(files[0], checked_output(api, said["serving"], files[0]))
        run = partial(through_engine, api, said["serving"], files)
        contenders: dict[str, Callable[[], float]] = {"engine": partial(charged, "engine", partial(family_cpu, pid), run)}
        for name, (_, other, _) in RUNS.items():
            try:
                quality = fitted(name, files[0], wanted, folder / name)
            except Missing as error:
                missing[name] = str(error)
            else:
                contenders[name] = partial(charged, name, children_cpu, partial(other, quality, folder / name, files))
        found = interleaved(repeats, **contenders)
    return list(figures(found, costs, missing))


def figures(found: dict[str, list[float]], costs: dict[str, list[float]], missing: dict[str, str]) -> Iterator[Figure]:
    """What came out, contender by contender."""
    for name, rates in found.items():
        say(f"  {name}: {', '.join(f'{rate:.2f}' for rate in rates)} images/s")
    for name, (_, _, bar) in RUNS.items():
        what = f"engine over HTTP / {name}, images/s"
        if name in missing:
            yield not_measured(what, missing[name])
        else:
            yield at_least(what, median_ratio(found["engine"], found[name]), bar)
            yield Figure(f"CPU an image: {name} / engine", median_ratio(costs[name], costs["engine"]))


if __name__ == "__main__":
    sys.stdout.write(table(measure("--quick" in sys.argv)))
