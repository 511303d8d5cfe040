"""`engine`: the local API on its own."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from watcher.assembly.records import unless_stopped
from watcher.clock import SystemClock
from watcher.commands.run import open_log
from watcher.config.engine_settings import DEFAULT_ENGINE_ADDRESS
from watcher.config.values import split_address
from watcher.engine.server import Capacity, Engine
from watcher.errors import CalledOff
from watcher.log import quiet_libraries
from watcher.log.console import Tally
from watcher.network.listening import shown_host
from watcher.network.proxies import Proxies
from watcher.records.place import JournalPlace
from watcher.service.control import Control
from watcher.service.instance import InstanceLock, instance_id

if TYPE_CHECKING:
    from pathlib import Path

    from watcher.config.schema import Settings
    from watcher.job_store import SharedStore


async def run_engine(settings: Settings) -> int:
    """The local API on its own, until a signal says stop."""
    quiet_libraries()
    control = Control()
    control.catch_signals()
    host, port = split_address(settings.engine.listen or DEFAULT_ENGINE_ADDRESS)
    state_dir = settings.engine_state_dir
    lock = InstanceLock.take(state_dir)
    keys = {key.get_secret_value() for key in settings.engine.api_keys}
    engine = Engine(
        settings.engine,
        state_dir,
        api_keys=keys,
        capacity=Capacity(stop_seconds=settings.drain, job_seconds=settings.drain),
        proxies=Proxies.of_environment(os.environ),
        shared=_shared_jobs(settings, state_dir),
    )
    try:
        port = await unless_stopped(control, engine.start(host, port))
    except CalledOff:
        return 0
    print(f"compressor-watcher engine: listening on http://{shown_host(host)}:{port}/1.0", file=sys.stderr, flush=True)  # noqa: T201 - for people
    try:
        await control.stopping.wait()
    finally:
        await engine.stop()
        lock.release()
    return 0


def _shared_jobs(settings: Settings, state_dir: Path) -> SharedStore | None:
    """What this engine has in common with others, where `journal` is one that hosts share."""
    place = JournalPlace.of(settings)
    if not place.is_shared:
        return None
    from watcher.records.postgres.jobs.store import PostgresJobs, jobs_server  # an extra: only who shares jobs needs its parts
    from watcher.records.postgres.lineage import FILE_NAME, Lineage

    log = open_log(settings, Tally())
    server = replace(jobs_server(place.server), lineage=Lineage(state_dir / FILE_NAME))
    return PostgresJobs(server, instance=instance_id(state_dir), events=log, clock=SystemClock())
