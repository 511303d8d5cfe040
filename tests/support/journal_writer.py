"""A process that works on a journal until somebody kills it: the entrance `journal_writer` of forks.py, FOLDER SEED [URL].

Says on standard output, one line each, what it was told is durable: "taken ID", "ended ID".
"""

import asyncio
import contextlib
import random
import sys
import uuid
from pathlib import Path

from tests.support.postgres import open_postgres
from tests.support.publishing import RecordedLog
from tests.support.records import BUCKET, open_journal, sighting, stored
from watcher.errors import Fenced
from watcher.model import Image, OutputState
from watcher.records.audit_file import AuditFile
from watcher.records.journal import ThreadedJournal
from watcher.records.outbox import OutboxRelay

FILES = 40


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def work(folder: Path, seed: int, *urls: str) -> None:
    new_id = lambda: str(uuid.uuid4())  # noqa: E731 - one word for the two calls below
    journal: ThreadedJournal
    if urls:
        journal = await open_postgres(urls[0], new_id=new_id)
    else:
        journal = open_journal(folder / "journal.db", new_id=new_id)
    recorder = OutboxRelay(journal, AuditFile(folder / "audit.jsonl"), RecordedLog())
    await recorder.start()
    chance = random.Random(seed)
    say("ready")
    await asyncio.gather(drop(journal, chance), *(convert(journal, chance) for _ in range(4)))


async def drop(journal: ThreadedJournal, chance: random.Random) -> None:
    while True:
        if (await journal.totals()).open > 8:
            await asyncio.sleep(0.001)
            continue
        names = [b"%d.jpg" % chance.randrange(FILES) for _ in range(3)]
        taken = await journal.take([sighting(name, chance.randrange(1, 1_000_000)) for name in names])
        for identity in taken:
            say(f"taken {identity}")


async def convert(journal: ThreadedJournal, chance: random.Random) -> None:
    while True:
        images = await journal.due(1e12, 8, ())
        if images:
            with contextlib.suppress(Fenced):  # another of the four has asked since, and not for this image
                await journey(journal, chance.choice(images))
        else:
            await asyncio.sleep(0.001)


async def journey(journal: ThreadedJournal, image: Image) -> None:
    for output in image.open_outputs:
        if output.state is OutputState.WAITING and not await journal.requested(
            image.id, output.rendition, (BUCKET, "k"), 1_001.0
        ):
            continue
        if await journal.end(image.id, output.rendition, stored(image, output.rendition, "k"), 1_002.0):
            say(f"ended {image.id}")
    await journal.finish(image.id, "kept", 1_003.0)


def main() -> None:
    """Until somebody kills it."""
    asyncio.run(work(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
