"""What each `compression` costs and keeps, and what others make of the same bytes. Makes the tables of docs/ENGINE.md.

    python -m benchmarks.engine_quality [--only PART] [PICTURE...]

Without files, twenty made pictures of seven kinds (quality_pictures.py), with files those, brought to 1600 pixels. Each is put
through the engine's own encoders. SSIM is that of Wang et al. (2004), Gaussian window of 1.5 pixels, on luminance, mean over the
image, alpha laid on white. SSIMULACRA2 (90: hardly any difference is seen, 70: good) is measured where the package `ssimulacra2`
is installed (pip install ssimulacra2). The second table gives sharp (npm), cwebp and avifenc (Debian: webp, libavif-bin) the
bytes of our `high` and `ultra` and asks what they make of them; what is missing is said and left out.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, Final

import pyvips

from benchmarks.quality_pictures import PICTURES
from benchmarks.sharp import SHARP, need_sharp
from watcher.engine.colours import to_srgb
from watcher.engine.encoding import QUALITIES, Encoding, encode, quality_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from watcher.engine.work import Compression

STEPS: tuple[Compression, ...] = ("medium", "high", "ultra")
SIDE = 1600
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
WITHOUT_ALPHA: Final = frozenset({"jpeg"})
_TRIES: Final = 7

SHARP_SCRIPT = """
const sharp = require('sharp'); const fs = require('fs');
(async () => { for (const [source, target, kind, bytes] of JSON.parse(fs.readFileSync(0))) {
  const options = {jpeg: [{}, 'jpeg'], mozjpeg: [{mozjpeg: true}, 'jpeg'], webp: [{}, 'webp'], avif: [{}, 'avif']}[kind];
  let low = 1, high = 100, best = null;
  while (low <= high) {
    const quality = (low + high) >> 1;
    const made = await sharp(source)[options[1]]({...options[0], quality}).toBuffer();
    if (made.length <= bytes) { best = made; low = quality + 1; } else high = quality - 1;
  }
  if (best) fs.writeFileSync(target, best);
} })();
"""


# --- measures ---------------------------------------------------------------------------------------------------------------


def ssim(one: pyvips.Image, other: pyvips.Image) -> float:
    """Mean structural similarity of two images of one size; 1 is identity."""
    first, second = (image.colourspace("b-w").extract_band(0).cast("float") for image in (one, other))
    means = [_window(image) for image in (first, second)]
    variances = [_window(image * image) - average * average for image, average in zip((first, second), means, strict=True)]
    covariance = _window(first * second) - means[0] * means[1]
    numerator = (means[0] * means[1] * 2 + _C1) * (covariance * 2 + _C2)
    denominator = (means[0] * means[0] + means[1] * means[1] + _C1) * (variances[0] + variances[1] + _C2)
    return float((numerator / denominator).avg())


def _window(image: pyvips.Image) -> pyvips.Image:
    return image.gaussblur(1.5, precision="float")


def ssimulacra2(one: pyvips.Image, other: pyvips.Image) -> float | None:
    """The SSIMULACRA2 of two images; None where the package is not installed."""
    try:
        from ssimulacra2 import compute_ssimulacra2  # type: ignore[import-not-found]
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{number}.png" for number in range(2)]
        for image, path in zip((one, other), paths, strict=True):
            image.colourspace("srgb").pngsave(path, compression=1)
        return float(compute_ssimulacra2(*paths))


def likeness(one: pyvips.Image, other: pyvips.Image) -> tuple[float, float | None]:
    """SSIM and SSIMULACRA2, alpha laid on white."""
    first, second = (image.flatten(background=255) if image.hasalpha() else image for image in (one, other))
    return ssim(first, second), ssimulacra2(first, second)


def decoded(content: bytes, format_name: str) -> pyvips.Image:
    """The pixels of an output."""
    if format_name != "heic":
        return to_srgb(pyvips.Image.new_from_buffer(content, "")).copy_memory()
    from watcher.engine import rasters

    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return rasters.load(Path(file.name), "heic")


# --- the engine's steps -----------------------------------------------------------------------------------------------------


def measured(image: pyvips.Image, format_name: str, step: Compression) -> tuple[float, float, float | None, float]:
    """Bits a pixel, SSIM, SSIMULACRA2, and seconds of CPU."""
    begin = time.process_time()
    content = made(image, format_name, step)
    seconds = time.process_time() - begin
    return len(content) * 8 / (image.width * image.height), *likeness(image, decoded(content, format_name)), seconds


def made(image: pyvips.Image, format_name: str, step: Compression) -> bytes:
    """The engine's output."""
    return encode(image, Encoding(format_name, step, quality_of(format_name, step)))


def steps_table(images: Mapping[str, pyvips.Image]) -> Iterable[str]:
    """A line for each format: means over the pictures."""
    yield "| format | " + " | ".join(f"{step}: bits/pixel, SSIM, SSIMULACRA2, CPU ms" for step in STEPS) + " |"
    yield "|---" * (len(STEPS) + 1) + "|"
    for format_name in (*QUALITIES, "gif"):
        cells = []
        for step in STEPS:
            found = [measured(image, format_name, step) for image in images.values()]
            bits, similarity, seconds = (mean(each[column] or 0 for each in found) for column in (0, 1, 3))
            cells.append(f"{bits:.2f}, {similarity:.3f}, {_mean(each[2] for each in found)}, {seconds * 1000:.0f}")
        yield f"| {format_name} | " + " | ".join(cells) + " |"


def _mean(values: Iterable[float | None]) -> str:
    known = [each for each in values if each is not None]
    return f"{mean(known):.1f}" if known else "-"


# --- others at equal bytes --------------------------------------------------------------------------------------------------


def by_sharp(kind: str, jobs: list[tuple[Path, Path, int]]) -> None:
    """sharp's best within so many bytes, for every source; in one process of node."""
    need_sharp()
    text = json.dumps([[str(source), str(target), kind, size] for source, target, size in jobs])
    subprocess.run(["node", "-e", SHARP_SCRIPT], cwd=SHARP, input=text, text=True, check=True)


def by_command(command: Callable[[int, Path, Path], list[str]], jobs: list[tuple[Path, Path, int]]) -> None:
    """The same by a command that takes a quality from 0 to 100."""
    for source, target, size in jobs:
        low, high, trial = 0, 100, target.with_suffix(".try")
        for _ in range(_TRIES):
            quality = (low + high + 1) // 2
            subprocess.run(command(quality, source, trial), check=True, capture_output=True)
            if trial.stat().st_size <= size:
                shutil.copyfile(trial, target)
                low = quality
            else:
                high = quality - 1


def cwebp(quality: int, source: Path, target: Path) -> list[str]:
    """libwebp's own encoder."""
    return ["cwebp", "-quiet", "-q", str(quality), str(source), "-o", str(target)]


def avifenc(quality: int, source: Path, target: Path) -> list[str]:
    """libavif's own encoder."""
    worst = round((100 - quality) * 63 / 100)
    return ["avifenc", "-s", "6", "-y", "420", "--min", str(worst), "--max", str(worst), str(source), str(target)]


def need(program: str) -> None:
    """Raises RuntimeError where it is missing."""
    if shutil.which(program) is None:
        raise RuntimeError(f"{program} is missing")


Contender = tuple[str, "Callable[[list[tuple[Path, Path, int]]], None]", "Callable[[], None]"]
CONTENDERS: Final[dict[str, Contender]] = {
    "sharp": ("jpeg", lambda jobs: by_sharp("jpeg", jobs), need_sharp),
    "sharp, mozjpeg": ("jpeg", lambda jobs: by_sharp("mozjpeg", jobs), need_sharp),
    "sharp, webp": ("webp", lambda jobs: by_sharp("webp", jobs), need_sharp),
    "cwebp": ("webp", lambda jobs: by_command(cwebp, jobs), lambda: need("cwebp")),
    "sharp, avif": ("avif", lambda jobs: by_sharp("avif", jobs), need_sharp),
    "avifenc": ("avif", lambda jobs: by_command(avifenc, jobs), lambda: need("avifenc")),
}


def others_table(images: Mapping[str, pyvips.Image]) -> Iterable[str]:
    """For each contender: how much better we are at the bytes of our `high` and `ultra`, means over the pictures."""
    yield "| against | step | bytes of theirs / ours | SSIM: ours, theirs | SSIMULACRA2: ours, theirs |"
    yield "|---|---|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        sources = {name: Path(folder) / f"{number}.png" for number, name in enumerate(images)}
        for name, path in sources.items():
            images[name].pngsave(str(path))
        for name, (format_name, best, needed) in CONTENDERS.items():
            try:
                needed()
            except (RuntimeError, OSError) as problem:
                yield f"| {name} | left out: {problem} | | | |"
                continue
            for step in STEPS[1:]:
                yield _contest(name, step, images, sources, (format_name, best))


def _contest(name: str, step: Compression, images: Mapping[str, Any], sources: Mapping[str, Path], with_: Any) -> str:
    format_name, best = with_
    shown = {each: image for each, image in images.items() if not (format_name in WITHOUT_ALPHA and image.hasalpha())}
    ours = {each: made(image, format_name, step) for each, image in shown.items()}
    jobs = [(sources[each], sources[each].with_suffix(f".{format_name}"), len(ours[each])) for each in shown]
    for _, target, _ in jobs:
        target.unlink(missing_ok=True)
    best(jobs)
    theirs = {each: target.read_bytes() for each, (_, target, _) in zip(shown, jobs, strict=True) if target.exists()}
    scores = [
        (*likeness(shown[each], decoded(ours[each], format_name)), *likeness(shown[each], decoded(content, format_name)))
        for each, content in theirs.items()
    ]
    ratio = sum(map(len, theirs.values())) / sum(len(ours[each]) for each in theirs)
    first = f"{mean(each[0] for each in scores):.4f}, {mean(each[2] for each in scores):.4f}"
    second = f"{_mean(each[1] for each in scores)}, {_mean(each[3] for each in scores)}"
    missing = f" ({len(shown) - len(theirs)} not reached)" if len(theirs) < len(shown) else ""
    return f"| {name} | {step} | {ratio:.3f}{missing} | {first} | {second} |"


# --- the run ----------------------------------------------------------------------------------------------------------------


def prepared(path: Path) -> pyvips.Image:
    """A picture as pixels in memory."""
    return to_srgb(pyvips.Image.thumbnail(str(path), SIDE, height=SIDE, size="down")).copy_memory()


def main() -> None:
    """Print the tables."""
    arguments = sys.argv[1:]
    only = arguments.pop(arguments.index("--only") + 1) if "--only" in arguments else ""
    files = [Path(each) for each in arguments if each != "--only"]
    made_ones = {name: make().copy_memory() for name, make in PICTURES.items()} if not files else {}
    images = {str(path): prepared(path) for path in files} or made_ones
    tables = {"steps": steps_table, "others": others_table}
    for name, table in tables.items():
        if only in ("", name):
            for line in table(images):
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
            sys.stdout.write("\n")


if __name__ == "__main__":
    main()
