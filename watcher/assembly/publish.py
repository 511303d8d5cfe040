"""Builds what gives originals an address: the port for temporary URLs, or the staging bucket."""

from __future__ import annotations

import contextlib
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final

from watcher.assembly.parts import Context, Publishing, Records
from watcher.errors import ConfigurationError, Unavailable
from watcher.publish.serve import TemporaryUrls
from watcher.service.instance import instance_id

if TYPE_CHECKING:
    from watcher.config.schema import Settings
    from watcher.ports import Publisher
    from watcher.publish.presign import StagedLinks


SECOND_SWEEP_SECONDS: Final = 60.0
SWEEP_SECONDS: Final = 3600.0
STOP_GRACE_SECONDS: Final = 2.0
"""For responses of the temporary-URL server that nobody's request waits for any more."""


async def start_publishing(context: Context, records: Records) -> Publishing:
    """Open the port for temporary URLs, or the staging bucket."""
    if context.settings.publish.mode == "presign":
        return Publishing(await _start_staging(context, records))
    serve = context.settings.publish.serve
    if serve.listen is None and context.settings.compressor.embedded:
        serve = serve.model_copy(update={"listen": "127.0.0.1:0"})
    urls = TemporaryUrls(serve, context.events, context.clock)
    public_url = await urls.start()
    context.life.on_stop(lambda: urls.stop(STOP_GRACE_SECONDS))
    context.life.on_reopen(urls.reload)
    return Publishing(urls, urls, public_url)


async def _start_staging(context: Context, records: Records) -> Publisher:
    from watcher.publish.presign import StagedLinks  # an extra: only who presigns needs its parts

    presign = context.settings.publish.presign
    if presign is None:
        raise ConfigurationError(["publish.presign: is missing"])
    owner = instance_id(context.settings.state_dir)
    links = StagedLinks(presign, context.events, context.clock, owner=owner, proxies=context.proxies)
    await links.start()
    context.life.on_stop(links.stop)
    context.life.run(_sweep(context, records, links), "sweep")

    def use_keys(settings: Settings) -> None:
        if settings.publish.presign is not None:
            links.use_keys(settings.publish.presign)

    context.life.on_reload(use_keys)
    return links


async def _sweep(context: Context, records: Records, links: StagedLinks) -> None:
    """Remove what a crash left in the staging bucket: at once, when the first scan has ended images of back then, and every hour.

    A store that is down is swept by age later.
    """
    for pause in chain((SECOND_SWEEP_SECONDS,), repeat(SWEEP_SECONDS)):
        with contextlib.suppress(Unavailable):
            await links.sweep(await records.journal.live_tokens(context.clock.now()))
        await context.clock.sleep(pause)
