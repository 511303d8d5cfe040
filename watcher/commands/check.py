"""`check`: what an operator meets at installation, each with what to do about it; and, asked for, one tiny image end to end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from rich.text import Text

from watcher.commands.checks.descriptors import check_descriptors
from watcher.commands.checks.finding import State
from watcher.commands.checks.folders import check_folders
from watcher.commands.checks.identity import describe, service_user
from watcher.commands.checks.manifests import check_manifests
from watcher.commands.checks.outputs import check_outputs
from watcher.commands.checks.receivers import check_receivers
from watcher.commands.checks.remote import (
    check_api,
    check_engine_parts,
    check_staging,
    check_stores,
    check_verify,
    judge_connector,
)
from watcher.commands.checks.serving import check_ports, check_serving, judge_address
from watcher.commands.checks.state import look_at_engine_state, look_at_state
from watcher.commands.printing import console, say, say_rows, state_text, write_json
from watcher.config.engine_settings import DEFAULT_ENGINE_ADDRESS
from watcher.errors import Unavailable
from watcher.log import quiet_libraries
from watcher.log.console import plain
from watcher.service.instance import running_pid

if TYPE_CHECKING:
    from watcher.commands.checks.finding import Finding
    from watcher.config.schema import Settings

STATE_WIDTH: Final = 4


async def check(settings: Settings, *, probe: bool, as_json: bool = False) -> int:
    """Look at everything and print what was found. Exit status 1 where something does not work."""
    quiet_libraries()
    running = is_running(settings)
    findings = check_machine(settings)
    findings += await check_ways(settings, running=running)
    if probe:
        from watcher.commands.checks.probe import run_probe  # brings in the whole daemon

        findings += await run_probe(settings, running=running)
    return tell(findings, as_json=as_json)


def check_engine_alone(settings: Settings, *, as_json: bool = False) -> int:
    """The same where there are engines and no daemon: state, jobs, address, connectors."""
    quiet_libraries()
    user = service_user(settings.state_dir)
    findings = [describe(user), *look_at_engine_state(settings, user), check_engine_parts()]
    if running_pid(settings.engine_state_dir) is None:
        findings.append(judge_address("[engine] listen", settings.engine.listen or DEFAULT_ENGINE_ADDRESS))
    findings += [judge_connector(name, each) for name, each in settings.engine.connectors.items()]
    return tell(findings, as_json=as_json)


def tell(findings: list[Finding], *, as_json: bool) -> int:
    """Print them. Exit status 1 where something does not work."""
    failed = sum(finding.state is State.FAIL for finding in findings)
    if as_json:
        write_json({"ok": not failed, "checks": [finding.data() for finding in findings]})
    else:
        show(findings, failed)
    return 1 if failed else 0


def is_running(settings: Settings) -> bool:
    """Whether a daemon works with this state. One that may not be looked at is taken for running: its port is not opened."""
    try:
        return running_pid(settings.state_dir) is not None
    except Unavailable:
        return True


def check_machine(settings: Settings) -> list[Finding]:
    """Files and folders, with the rights of whom the daemon runs as."""
    user = service_user(settings.state_dir)
    findings = [*check_folders(settings, user), *look_at_state(settings, user), *check_descriptors(settings)]
    return [describe(user), *findings, *check_manifests(settings, user), *check_receivers(settings, user)]


async def check_ways(settings: Settings, *, running: bool) -> list[Finding]:
    """The way from the API to us, from us to the API, and the stores."""
    if settings.publish.mode == "presign":
        findings = await check_staging(settings)
    else:
        findings = await check_serving(settings, running=running, now=time.time())
    if not running:
        findings += check_ports(settings)
    stores = [*check_stores(settings), *check_outputs(settings), *await check_verify(settings)]
    return [*findings, *await check_api(settings), *stores]


def show(findings: list[Finding], failed: int) -> None:
    """The table (a plain line each where it is no terminal), and the sum of it."""
    out = console()
    if out.is_terminal:
        say_rows(out, (as_row(finding) for finding in findings), STATE_WIDTH, max(len(plain(each.what)) for each in findings))
    else:
        for finding in findings:
            say(out, as_line(finding))
    warned = sum(finding.state is State.WARN for finding in findings)
    count = f"{warned} warning{'s' if warned != 1 else ''}"
    say(out, state_text("fail" if failed else "ok", 4), f"{failed} failed, {count}" if failed else f"nothing failed, {count}")


def as_row(finding: Finding) -> tuple[Text, str, str, Text]:
    """A finding: its state, what was looked at, what was found, and what to do."""
    todo = Text(f"=> {plain(finding.todo)}" if finding.todo else "", "bold")
    return state_text(str(finding.state), STATE_WIDTH), plain(finding.what), plain(finding.found), todo


def as_line(finding: Finding) -> Text:
    """The same on one line."""
    state, what, found, todo = as_row(finding)
    return Text("  ").join(each for each in (state, Text(f"{what}: {found}"), todo) if each)
