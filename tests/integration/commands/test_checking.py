"""`check` on real folders, files, sockets and certificates."""

import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.integration.commands.conftest import configure
from tests.support.b2_quirks import b2_quirks
from tests.support.fronts import make_certificate
from tests.support.postgres import Postgres
from tests.support.s3 import S3Server
from tests.support.standin import DEFAULT_KEY, Fault, Standin
from watcher.commands.check import check_machine, check_ways
from watcher.commands.checks.finding import Finding, State
from watcher.commands.checks.folders import check_folders, walk
from watcher.commands.checks.identity import acting_as, service_user
from watcher.commands.checks.probe import run_probe
from watcher.commands.checks.remote import check_api, check_engine, check_staging, check_verify
from watcher.commands.checks.serving import check_certificate, check_ports, check_serving
from watcher.commands.checks.state import check_state
from watcher.config.rules import folder_rules
from watcher.config.schema import Settings
from watcher.service.instance import InstanceLock

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


def of(findings: list[Finding], what: str) -> list[Finding]:
    """The lines about this."""
    return [finding for finding in findings if finding.what.startswith(what)]


def worst(findings: list[Finding]) -> State:
    return next(
        state for state in (State.FAIL, State.WARN, State.SKIP, State.OK) if any(each.state is state for each in findings)
    )


def with_folder(tmp_path: Path, **changes: Any) -> Settings:
    """Settings with one folder of these properties."""
    return configure(tmp_path, folders=[{"name": "products", "path": str(tmp_path / "drop"), **changes}])


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users can reach, which pytest's own are not."""
    path = Path(tempfile.mkdtemp(prefix="check-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


# --- folders ----------------------------------------------------------------------------------------------------------------


def test_a_good_folder_is_counted(tmp_path: Path) -> None:
    """Its directories are counted as far as they will be watched: hidden ones and those of NAS systems are not."""
    settings = with_folder(tmp_path)
    for name in ("a/b", "c", ".hidden/d", "@eaDir/e"):
        (tmp_path / "drop" / name).mkdir(parents=True)
    findings = check_folders(settings)

    assert worst(findings) is State.OK
    assert "readable, 4 directories" in of(findings, "folder products")[0].found
    assert "4 directories to watch" in of(findings, "watch limit")[0].found


def test_a_flat_folder_needs_one_watch(tmp_path: Path) -> None:
    """recursive = false."""
    settings = with_folder(tmp_path, recursive=False)
    (tmp_path / "drop/sub").mkdir()

    assert walk(folder_rules(settings)["products"], time.monotonic() + 10, needs_write=False).directories == 1


@pytest.mark.parametrize(("kind", "words"), [("missing", "is not there"), ("file", "is no folder")])
def test_a_folder_that_is_none_fails(tmp_path: Path, kind: str, words: str) -> None:
    """With what to do."""
    if kind == "file":
        (tmp_path / "other").write_text("x")
    settings = configure(tmp_path, folders=[{"name": "products", "path": str(tmp_path / "other")}])
    finding = of(check_folders(settings), "folder products")[0]

    assert (finding.state, words in finding.found) == (State.FAIL, True)
    assert finding.todo


@needs_root
def test_rights_are_those_of_the_services_user(place: Path) -> None:
    """root checks with the rights of who owns the state folder: closed directories, unreadable files, no right to move."""
    nobody = pwd.getpwnam("nobody")
    settings = configure(place, folders=[{"name": "products", "path": str(place / "drop"), "on_success": "delete"}])
    settings.state_dir.mkdir()
    os.chown(settings.state_dir, nobody.pw_uid, nobody.pw_gid)
    (place / "drop/closed").mkdir(mode=0o700)
    (place / "drop/secret.jpg").touch(mode=0o600)
    (place / "drop").chmod(0o755)
    findings = check_machine(settings)

    assert "checked for nobody" in of(findings, "user")[0].found
    found = " / ".join(finding.found for finding in of(findings, "folder products: rights"))
    assert f"may not be listed: {place}/drop/closed" in found
    assert f"1 of 1 files looked at may not be read: {place}/drop/secret.jpg" in found
    assert f"files may not be moved or deleted out of {place}/drop" in found
    assert os.geteuid() == 0
    (place / "drop/closed/still-root").touch()


@needs_root
def test_a_sticky_folder_lets_nobody_delete_what_others_dropped(place: Path) -> None:
    """Mode 1777, as /tmp has it: writable, and all the same no place to delete from."""
    settings = configure(place, folders=[{"name": "products", "path": str(place / "drop"), "on_success": "delete"}])
    (place / "drop").chmod(stat.S_ISVTX | 0o777)
    with acting_as(pwd.getpwnam("nobody")):
        findings = check_folders(settings)

    assert worst(of(findings, "folder products: rights")) is State.FAIL


@needs_root
def test_a_folder_that_may_not_be_listed_fails(place: Path) -> None:
    """As the daemon would find it."""
    settings = with_folder(place)
    (place / "drop").chmod(0o700)
    with acting_as(pwd.getpwnam("nobody")):
        finding = of(check_folders(settings), "folder products")[0]

    assert (finding.state, "may not be listed" in finding.found) == (State.FAIL, True)


def test_a_database_is_looked_at_by_who_may_not_read_the_program(tmp_path: Path, postgres: Postgres) -> None:
    """Installed below root's home, say: what the look needs was read before."""
    words = (
        "import sys\n"
        "from pathlib import Path\n"
        "from watcher.commands.checks.state import check_journal\n"
        "from watcher.config.schema import Settings\n"
        "from watcher.records.place import JournalPlace\n"
        "settings = Settings(folders=[], journal=sys.argv[1], state_dir=Path(sys.argv[2]))\n"
        "JournalPlace.of(settings).load()\n"
        "sys.meta_path.clear()\n"
        "print([str(each.state) for each in check_journal(settings)])"
    )
    url = postgres.journal().replace("127.0.0.1", "localhost")
    done = subprocess.run([sys.executable, "-c", words, url, tmp_path], capture_output=True, text=True)

    assert done.stdout == "['ok']\n", done.stdout + done.stderr


@needs_root
def test_nobody_else_is_acted_for_without_need(tmp_path: Path) -> None:
    """A state folder of root's own, or none, is checked as root."""
    settings = configure(tmp_path)
    assert service_user(settings.state_dir) is None
    settings.state_dir.mkdir()
    assert service_user(settings.state_dir) is None


def test_move_targets_are_looked_at(tmp_path: Path) -> None:
    """One that will be made, on the same file system; and one that is a file."""
    (tmp_path / "file").write_text("x")
    settings = with_folder(
        tmp_path, on_success={"move": str(tmp_path / "done/deep")}, on_failure={"move": str(tmp_path / "file")}
    )
    made, wrong = of(check_folders(settings), "folder products: move to")

    assert (made.state, made.found) == (State.OK, "it will be made; same file system: files are renamed")
    assert (wrong.state, "is no folder" in wrong.found) == (State.FAIL, True)


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no second file system to move to")
def test_a_move_to_another_file_system_is_said(tmp_path: Path) -> None:
    """It works, by a checked copy."""
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("/dev/shm lies on the same file system")
    settings = with_folder(tmp_path, on_success={"move": "/dev/shm/compressor-watcher-check"})

    assert "copied, checked, then deleted" in of(check_folders(settings), "folder products: move to")[0].found


def test_a_polled_folder_needs_no_watches(tmp_path: Path) -> None:
    """polling = true."""
    findings = check_folders(with_folder(tmp_path, polling=True))

    assert "0 directories to watch" in of(findings, "watch limit")[0].found
    assert of(findings, "folder products: mount")[0].found.endswith("polled")


def test_names_that_are_no_text_break_nothing(tmp_path: Path) -> None:
    """Neither of files nor of directories."""
    settings = with_folder(tmp_path)
    root = os.fsencode(tmp_path / "drop")
    os.mkdir(root + b"/caf\xe9")
    Path(os.fsdecode(root + b"/caf\xe9/\xff.jpg")).touch()

    assert worst(check_folders(settings)) is State.OK


# --- state ------------------------------------------------------------------------------------------------------------------


def test_the_state_is_looked_at_before_and_after_the_first_run(tmp_path: Path) -> None:
    """Folders that the daemon makes itself need not be there."""
    settings = configure(tmp_path)
    assert "will be made" in of(list(check_state(settings)), "state_dir")[0].found
    settings.state_dir.mkdir()
    findings = list(check_state(settings))

    assert worst(findings) is State.OK
    assert "is writable" in of(findings, "state_dir")[0].found
    assert list((settings.state_dir).iterdir()) == []


def test_a_running_daemon_is_named(tmp_path: Path) -> None:
    """With its process id."""
    settings = configure(tmp_path)
    lock = InstanceLock.take(settings.state_dir)
    try:
        assert f"pid {os.getpid()}" in of(list(check_state(settings)), "daemon")[0].found
    finally:
        lock.release()


def test_a_missing_log_folder_fails(tmp_path: Path) -> None:
    """The daemon makes state_dir, and no other."""
    settings = configure(tmp_path, log={"audit": str(tmp_path / "logs/audit.jsonl")})
    (finding,) = [each for each in check_state(settings) if each.what == "audit file"]

    assert (finding.state, "logs is not there" in finding.found) == (State.FAIL, True)


def test_a_broken_journal_fails(tmp_path: Path) -> None:
    """Something else at its place."""
    settings = configure(tmp_path)
    settings.state_dir.mkdir()
    settings.journal_path.write_text("no database at all, and long enough to be taken for one" * 20)

    assert of(list(check_state(settings)), "journal")[0].state is State.FAIL


@needs_root
def test_a_state_that_may_not_be_written_fails(place: Path) -> None:
    """state_dir and the audit file, each with what to do."""
    settings = configure(place)
    settings.state_dir.mkdir(mode=0o755)
    with acting_as(pwd.getpwnam("nobody")):
        findings = list(check_state(settings))

    assert [of(findings, what)[0].state for what in ("state_dir", "audit file")] == [State.FAIL, State.FAIL]


# --- serving ----------------------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port that was free a moment ago; held until then by nobody."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def served(tmp_path: Path, **serve: Any) -> Settings:
    """Settings for temporary URLs, the API being on this machine."""
    return configure(tmp_path, publish={"serve": {"listen": "127.0.0.1:0", **serve}})


@asynccontextmanager
async def answering(status: int, target: int = 0, drop: str = "") -> AsyncIterator[int]:
    """A server in place of a proxy: it answers with `status`, or passes on to the port `target` without the header `drop`."""
    import aiohttp

    async def answer(request: web.Request) -> web.Response:
        if not target:
            return web.Response(status=status, text="somebody else")
        headers = {name: value for name, value in request.headers.items() if name not in (drop, "Host")}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{target}{request.path}", headers=headers) as got,
        ):
            policy = got.headers["Content-Security-Policy"]
            return web.Response(status=got.status, body=await got.read(), headers={"Content-Security-Policy": policy})

    runner = web.AppRunner(web.Application(), access_log=None)
    runner.app.router.add_route("*", "/{path:.*}", answer)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_without_public_url_the_port_is_tried(tmp_path: Path) -> None:
    """A published image comes back whole from the port itself."""
    findings = await check_serving(served(tmp_path), running=False, now=time.time())

    assert worst(findings) is State.OK
    assert "came back whole" in of(findings, "public_url: reached")[0].found


async def test_a_taken_port_fails_with_who_to_ask(tmp_path: Path) -> None:
    """The other program is not disturbed."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = served(tmp_path, listen=f"127.0.0.1:{taken.getsockname()[1]}")
        findings = await check_serving(settings, running=False, now=time.time())

    (finding,) = of(findings, "port")
    assert (finding.state, "another program has this port" in finding.found, "ss -ltnp" in finding.todo) == (
        State.FAIL,
        True,
        True,
    )


async def test_a_proxy_that_passes_everything_is_fine(tmp_path: Path) -> None:
    """The request goes to the public address, through the proxy, to the port that was opened."""
    port = free_port()
    async with answering(0, target=port) as proxy:
        settings = served(tmp_path, listen=f"127.0.0.1:{port}", public_url=f"http://127.0.0.1:{proxy}")
        findings = await check_serving(settings, running=False, now=time.time())

    assert worst(findings) is State.OK, findings


async def test_a_proxy_that_drops_the_header_is_found_out(tmp_path: Path) -> None:
    """Every image would fail with 403, so this must not look well."""
    port = free_port()
    async with answering(0, target=port, drop="X-Watcher-Key") as proxy:
        settings = served(tmp_path, listen=f"127.0.0.1:{port}", public_url=f"http://127.0.0.1:{proxy}")
        findings = await check_serving(settings, running=False, now=time.time())

    (finding,) = of(findings, "public_url: reached")
    assert (finding.state, "header with the second secret was lost" in finding.found) == (State.FAIL, True)


@pytest.mark.parametrize(("status", "words"), [(200, "something else answers"), (502, "does not reach `listen`")])
async def test_somebody_else_at_the_public_address(tmp_path: Path, status: int, words: str) -> None:
    """Another site, or a proxy that leads nowhere."""
    async with answering(status) as proxy:
        settings = served(tmp_path, public_url=f"http://127.0.0.1:{proxy}")
        findings = await check_serving(settings, running=False, now=time.time())

    (finding,) = of(findings, "public_url: reached")
    assert (finding.state, words in finding.found) == (State.FAIL, True)


async def test_nobody_at_the_public_address(tmp_path: Path) -> None:
    """On this machine there is no hairpin NAT to blame: it fails."""
    settings = served(tmp_path, public_url=f"http://127.0.0.1:{free_port()}")
    (finding,) = of(await check_serving(settings, running=False, now=time.time()), "public_url: reached")

    assert (finding.state, "could not be reached" in finding.found) == (State.FAIL, True)


async def test_a_name_that_does_not_resolve_fails(tmp_path: Path) -> None:
    """A label of 64 letters is more than a name can have, so nobody has to be asked."""
    settings = served(tmp_path, public_url=f"https://{'a' * 64}.localhost")
    (finding,) = of(await check_serving(settings, running=False, now=time.time()), "public_url: name")

    assert (finding.state, "does not resolve" in finding.found) == (State.FAIL, True)


def test_other_ports_are_tried(tmp_path: Path) -> None:
    """The status page's, and the engine's where it is embedded."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = configure(
            tmp_path, compressor={"url": "embedded"}, admin={"listen": "127.0.0.1:0"}, engine={"listen": address}
        )
        admin, engine = check_ports(settings)

    assert (admin.state, engine.state) == (State.OK, State.FAIL)
    assert address in engine.found


# --- certificates -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificates"), "drops.test")


def tls(tmp_path: Path, pair: tuple[Path, Path], host: str) -> Any:
    serve = served(tmp_path, public_url=f"https://{host}", certificate=str(pair[0]), private_key=str(pair[1]))
    return serve.publish.serve


def test_the_end_of_a_certificate_is_known(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """One for two days is good, and to be renewed."""
    (finding,) = check_certificate(tls(tmp_path, certificate, "drops.test"), time.time())

    assert (finding.state, "valid for 2 more days" in finding.found) == (State.WARN, True)


@pytest.mark.parametrize("fault", ["other_host", "missing"])
def test_a_certificate_that_does_not_fit_fails(tmp_path: Path, certificate: tuple[Path, Path], fault: str) -> None:
    """For another host, or not there: the API would refuse it."""
    pair, host = certificate, "other.test"
    if fault == "missing":
        pair, host = (tmp_path / "none.crt", tmp_path / "none.key"), "drops.test"
    (finding,) = check_certificate(tls(tmp_path, pair, host), time.time())

    assert finding.state is State.FAIL
    assert ("Hostname mismatch" if fault == "other_host" else "No such file") in finding.found


# --- API and stores ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def standin() -> AsyncIterator[Standin]:
    async with Standin() as server:
        yield server


def calling(tmp_path: Path, standin: Standin, key: str = DEFAULT_KEY) -> Settings:
    """Settings for the stand-in."""
    return configure(
        tmp_path,
        compressor={"url": standin.url, "api_key": key},
        verify={"url": standin.verify_url},
        publish={"serve": {"listen": "127.0.0.1:0"}},
    )


async def test_all_is_well_with_a_good_key(tmp_path: Path, standin: Standin) -> None:
    """Account, clock, store and the question whether an object is there."""
    findings = await check_ways(calling(tmp_path, standin), running=False)

    apart = ("store", "folder products: outputs")
    assert worst([each for each in findings if each.what not in apart]) is State.OK, findings
    assert {"account", "clock", "store", "verify: bucket b"} <= {finding.what for finding in findings}
    assert "BMP and HEIC and TIFF files are stored as they come" in of(findings, "folder products: outputs")[0].found


async def test_a_wrong_key_fails_with_what_to_do(tmp_path: Path, standin: Standin) -> None:
    """And is not repeated."""
    findings = await check_api(calling(tmp_path, standin, "planted-wrong-key"))

    assert (findings[0].what, findings[0].state) == ("account", State.FAIL)
    assert "WATCHER_COMPRESSOR__API_KEY" in findings[0].todo
    assert "planted-wrong-key" not in str(findings)


async def test_an_api_that_is_away_fails(tmp_path: Path, standin: Standin) -> None:
    """One line says why, and there is no clock to compare with."""
    await standin.stop()
    findings = await check_api(calling(tmp_path, standin))

    assert [(finding.what, finding.state) for finding in findings] == [("API", State.FAIL)]


async def test_a_store_that_says_nothing_is_a_warning(tmp_path: Path, standin: Standin) -> None:
    """A private bucket without credentials."""
    standin.faults = [Fault("status", status=403, on=("bucket",))]

    assert [finding.state for finding in await check_verify(calling(tmp_path, standin))] == [State.WARN]


def test_the_embedded_engine_needs_its_connectors(tmp_path: Path) -> None:
    """A connector that is not there, one without its key, and a folder."""

    def lines(connectors: dict[str, Any]) -> list[Finding]:
        settings = configure(tmp_path, compressor={"url": "embedded"}, engine={"connectors": connectors})
        return of(list(check_engine(settings)), "connector c")

    assert [finding.state for finding in lines({})] == [State.FAIL]
    assert "key_id and application_key missing" in lines({"c": {"kind": "b2"}})[0].found
    assert lines({"c": {"kind": "directory", "path": str(tmp_path / "bucket")}})[0].state is State.OK


# --- staging ----------------------------------------------------------------------------------------------------------------


def staging(tmp_path: Path, store: S3Server, **changes: str) -> Settings:
    """Settings that stage originals in a bucket of the store."""
    presign = {
        "endpoint": store.endpoint,
        "region": store.region,
        "bucket": store.new_bucket(),
        "key_id": store.key_id,
        "application_key": store.application_key,
        **changes,
    }
    return configure(tmp_path, publish={"mode": "presign", "presign": presign})


async def test_a_good_staging_bucket_is_tried_and_left_clean(tmp_path: Path, s3: S3Server) -> None:
    """Put, read, list, delete: a line each, and nothing stays."""
    settings = staging(tmp_path, s3)
    findings = await check_staging(settings)

    assert [finding.state for finding in findings] == [State.OK] * 4, findings
    assert settings.publish.presign is not None
    assert s3.versions(settings.publish.presign.bucket) == []


async def test_a_bad_staging_key_fails_with_what_to_do(tmp_path: Path, s3: S3Server) -> None:
    """The secret is not repeated."""
    findings = await check_staging(staging(tmp_path, s3, application_key="planted-wrong-secret"))

    assert worst(findings) is State.FAIL
    assert findings[0].todo
    assert "planted-wrong-secret" not in str(findings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"key_id": "nobody"}, "key_id"),
        ({"application_key": "planted-wrong-secret"}, "application_key does not belong"),
        ({"bucket": "there-is-no-such-bucket"}, "bucket is not there"),
        ({"region": "eu-central-003"}, "region or endpoint is not the bucket's"),
        ({"endpoint": "http://127.0.0.1:9"}, "network"),
    ],
    ids=["key", "secret", "bucket", "region", "endpoint"],
)
async def test_what_is_wrong_with_a_staging_bucket_is_told_apart(
    tmp_path: Path, s3: S3Server, changes: dict[str, str], words: str
) -> None:
    """Each wrong setting has a hint of its own, which names it."""
    findings = await check_staging(staging(tmp_path, s3, **changes))

    assert findings[0].state is State.FAIL
    assert words in findings[0].todo


async def test_a_missing_capability_is_named(tmp_path: Path, s3: S3Server) -> None:
    """A key that may not delete, or not list, is found out before images pile up; B2 is imitated."""
    async with b2_quirks(s3) as b2:
        for capability in ("deleteFiles", "listFiles", "readFiles", "writeFiles"):
            b2.capabilities.discard(capability)
            findings = await check_staging(staging(tmp_path, s3, endpoint=b2.endpoint, bucket=s3.new_bucket(versioned=True)))
            b2.capabilities.add(capability)
            assert [capability in finding.todo for finding in findings if finding.state is State.FAIL] == [True]


# --- probe ------------------------------------------------------------------------------------------------------------------


async def test_the_probe_goes_through_everything(tmp_path: Path, standin: Standin) -> None:
    """One object, at a key of its own below the folder's, and nothing in the folder or the state."""
    settings = calling(tmp_path, standin)
    findings = await run_probe(settings, running=False)

    assert [finding.state for finding in findings] == [State.OK] * 6, findings
    ((bucket, key),) = standin.objects
    assert bucket == "b"
    assert key.startswith("products/.compressor-watcher-probe/")
    assert f"remove b/{key} by hand" in findings[4].found
    assert list((tmp_path / "drop").iterdir()) == []
    assert not settings.state_dir.exists()


@pytest.mark.parametrize(
    ("fault", "step"),
    [
        (Fault("status", status=422, message="nope"), "probe: fetched"),
        (Fault("status_after", status=422, message="the store refused"), "probe: answered"),
        (Fault("status", status=401, on=("fetch", "account")), "probe: fetched"),
    ],
)
async def test_the_probe_says_where_it_stopped(tmp_path: Path, standin: Standin, fault: Fault, step: str) -> None:
    """Before or after the API came for the image."""
    standin.faults = [fault]
    findings = await run_probe(calling(tmp_path, standin), running=False)

    assert [finding.what for finding in findings if finding.state is State.FAIL] == [step], findings


async def test_the_probe_does_not_wait_for_an_api_that_is_away(tmp_path: Path, standin: Standin) -> None:
    """It ends as soon as the daemon's own parts say that the API cannot be reached."""
    await standin.stop()
    started = time.monotonic()
    findings = await run_probe(calling(tmp_path, standin), running=False)

    assert worst(findings) is State.FAIL
    assert time.monotonic() - started < 60


async def test_the_probe_leaves_a_running_daemon_its_port(tmp_path: Path, standin: Standin) -> None:
    """It says so instead of failing in the middle."""
    (finding,) = await run_probe(calling(tmp_path, standin), running=True)

    assert (finding.state, "running daemon has the port" in finding.found) == (State.FAIL, True)
    assert standin.calls["fetch"] == 0
