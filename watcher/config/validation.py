"""What no table of the configuration can see alone: secrets, stores, overlaps, names, times. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from watcher.config.apprise_check import apprise_problems
from watcher.config.engine_settings import B2ConnectorSettings
from watcher.config.folder_settings import MoveTo
from watcher.config.keys import DEFAULT_KEY_TEMPLATE
from watcher.config.merging import output_store
from watcher.config.receiver_settings import receiver_problems
from watcher.config.values import is_loopback, split_address
from watcher.network.proxies import Proxies

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from watcher.config.folder_settings import Folder
    from watcher.config.schema import Settings

Purpose = Literal["daemon", "engine", "read"]
"""How much must be there: all (daemon), the engine's own (engine), or no secret at all (read: commands that read or steer)."""
MAX_METADATA_BYTES: Final = 2_048
"""Name and value bytes of `store.metadata`, ours included (S3 rule; B2's own is 7,000, less with encryption)."""


FileId = tuple[int, int]
"""Device and inode."""
Chain = tuple[FileId | None, ...]
"""A directory and all above it, by their true places; None for what is not there (yet)."""


@dataclass(frozen=True, slots=True)
class LookedAt:
    """What the file systems say of configured paths, as far as it is known: where they lead to, and what lies on the way."""

    real_paths: Mapping[Path, Path] = field(default_factory=dict)
    chains: Mapping[Path, Chain] = field(default_factory=dict)


def check_whole(settings: Settings, purpose: Purpose, environment: Mapping[str, str], looked_at: LookedAt) -> list[str]:
    """What no table can see alone: secrets, stores of folders, overlaps, names, times, proxies of the environment."""
    if purpose == "engine":
        missing = [] if settings.engine.api_keys else ["engine.api_keys: is missing; without a key nobody may use the engine"]
        proxies = Proxies.of_environment(environment)
        stores = [problem for url in _engine_stores(settings) if (problem := proxies.problem(url))]
        return [*missing, *_check_journal(settings), *dict.fromkeys(stores)]
    problems = [
        *_check_journal(settings),
        *_check_folders(settings, looked_at.real_paths),
        *_check_moves(settings.folders, looked_at.chains),
        *(_check_publish(settings) if purpose == "daemon" or settings.folders else ()),
        *_check_receivers(settings, purpose),
    ]
    if purpose == "daemon":
        problems += [*_check_daemon(settings), *_check_proxies(settings, Proxies.of_environment(environment))]
        problems += apprise_problems(settings.notify)
    return problems


def _check_journal(settings: Settings) -> Iterator[str]:
    if settings.journal is None:
        if settings.cluster.name is not None:
            yield "cluster.name: is for a journal that hosts share; set `journal` to a postgresql:// URL"
        if settings.journal_password is not None:
            yield "journal_password: is for a journal on PostgreSQL; set `journal` to a postgresql:// URL"
    elif find_spec("psycopg") is None:
        yield "journal: PostgreSQL needs the extra `postgres`: pip install 'compressor-watcher[postgres]'"


def _check_proxies(settings: Settings, proxies: Proxies) -> Iterator[str]:
    """Variables that name a proxy for an address that is asked, and one that cannot be used."""
    yield from dict.fromkeys(problem for url in _asked(settings) if (problem := proxies.problem(url)))


def _asked(settings: Settings) -> Iterator[str]:
    """The addresses of others that the daemon asks."""
    if settings.compressor.embedded:
        yield from _engine_stores(settings)
    else:
        yield settings.compressor.url
        if settings.verify.mode != "never":
            yield settings.verify.url
    if settings.publish.mode == "presign" and settings.publish.presign is not None:
        yield settings.publish.presign.endpoint


def _engine_stores(settings: Settings) -> Iterator[str]:
    """The addresses that the engine stores into."""
    for connector in settings.engine.connectors.values():
        if isinstance(connector, B2ConnectorSettings):
            yield connector.endpoint or f"https://s3.{settings.store.region}.backblazeb2.com"


def _check_daemon(settings: Settings) -> Iterator[str]:
    if not settings.folders:
        yield "folders: is missing; add a [[folders]] table with a `path`"
    if settings.compressor.api_key is None and not settings.compressor.embedded:
        yield (
            "compressor.api_key: is missing; set WATCHER_COMPRESSOR__API_KEY, or a systemd credential named compressor_api_key"
        )
    listen = settings.admin.listen
    if listen is not None and settings.admin.password is None and not is_loopback(split_address(listen)[0]):
        yield (
            "admin.password: is missing, and `listen` is not a loopback address; set WATCHER_ADMIN__PASSWORD,"
            " or a systemd credential named admin_password"
        )
    presign = settings.publish.presign
    if settings.publish.mode == "presign" and presign is not None:
        for key in ("key_id", "application_key"):
            if getattr(presign, key) is None:
                yield f"publish.presign.{key}: is missing; set WATCHER_PUBLISH__PRESIGN__{key.upper()} or a systemd credential"


def _check_publish(settings: Settings) -> Iterator[str]:
    publish, timeout = settings.publish, settings.compressor.timeout
    if publish.mode == "presign":
        if publish.presign is None:
            yield 'publish.presign: is missing; mode "presign" needs `endpoint`, `region` and `bucket`'
        elif publish.presign.ttl < timeout:
            yield "publish.presign.ttl: is below compressor.timeout, so a link could die while it is fetched"
        return
    if publish.serve.ttl < timeout:
        yield "publish.serve.ttl: is below compressor.timeout, so a URL could die while it is fetched"
    if publish.serve.public_url is None and not settings.compressor.embedded:
        host = urlsplit(settings.compressor.url).hostname
        if not is_loopback(host):
            yield "publish.serve.public_url: is missing; it says how the API reaches this machine (see README)"


def _check_receivers(settings: Settings, purpose: Purpose) -> Iterator[str]:
    names = [folder.name for folder in settings.folders]
    for name, receiver in settings.notify.items():
        yield from receiver_problems(name, receiver, names, with_secrets=purpose == "daemon")


def _check_folders(settings: Settings, real_paths: Mapping[Path, Path]) -> Iterator[str]:
    yield from _check_names("folders", [folder.name for folder in settings.folders])
    yield from _check_overlaps(settings.folders, real_paths)
    for number, folder in enumerate(settings.folders):
        place = f"folders[{number}]"
        yield from _check_names(f"{place}.renditions", [rendition.name for rendition in folder.renditions])
        yield from _check_stores(settings, folder, place)
    yield from _check_manifests(settings, real_paths)


def _check_names(place: str, names: Sequence[str]) -> Iterator[str]:
    for number, name in enumerate(names):
        if name in names[:number]:
            yield f"{place}[{number}].name: another one has the same name"


def _check_overlaps(folders: Sequence[Folder], real_paths: Mapping[Path, Path]) -> Iterator[str]:
    resolved = [real_paths.get(folder.path, folder.path) for folder in folders]
    for number, path in enumerate(resolved):
        for other, above in enumerate(resolved):
            inside = path.is_relative_to(above) and number != other
            if inside and (folders[other].recursive or path == above) and not (path == above and other > number):
                yield f"folders[{number}].path: lies in folders[{other}].path; watched folders must not overlap"


def move_targets(folder: Folder) -> list[tuple[str, Path]]:
    """The settings of a folder that move originals, and where to."""
    after = {"on_success": folder.on_success, "on_failure": folder.on_failure}
    return [(name, each.move) for name, each in after.items() if isinstance(each, MoveTo)]


def _check_moves(folders: Sequence[Folder], chains: Mapping[Path, Chain]) -> Iterator[str]:
    """What is moved must not be found again: not in a watched folder itself, nor below one that is called by another name there.

    A target that is seen to lie in its folder is fine; nothing below it is taken.
    """
    for number, folder in enumerate(folders):
        for name, target in move_targets(folder):
            chain = chains.get(target, ())
            for other, watched in enumerate(folders):
                root = (chains.get(watched.path) or (None,))[0]
                if root is None or root not in chain:
                    continue
                place, there = f"folders[{number}].{name}", f"folders[{other}].path ({watched.path})"
                if root == chain[0]:
                    yield f"{place}: {target} is {there} itself, where moved files would be taken again; name another folder"
                elif watched.recursive and not target.is_relative_to(watched.path):
                    yield f"{place}: {target} leads into {there} by another name, where moved files would be taken again"


def _check_manifests(settings: Settings, real_paths: Mapping[Path, Path]) -> Iterator[str]:
    """A manifest in a watched folder would be looked at as a drop at every change; two in one place would take turns."""
    seen: dict[Path, int] = {}
    for number, folder in enumerate(settings.folders):
        if folder.manifest is None:
            continue
        place = f"folders[{number}].manifest"
        real = real_paths.get(folder.manifest.parent, folder.manifest.parent) / folder.manifest.name
        for other, watched in enumerate(settings.folders):
            roots = {watched.path, real_paths.get(watched.path, watched.path)}
            if any(path.is_relative_to(root) for path in (folder.manifest, real) for root in roots):
                yield f"{place}: lies in folders[{other}].path; put it outside of the watched folders"
        if real in seen:
            yield f"{place}: is that of folders[{seen[real]}] as well; each needs a file of its own"
        seen[real] = number
        if real in (settings.audit_path, settings.journal_path):
            yield f"{place}: is a file of the daemon itself; choose another one"


def _check_stores(settings: Settings, folder: Folder, place: str) -> Iterator[str]:
    """Required keys, and no two outputs of one image at one key."""
    stores = [("", output_store(settings, folder, None))]
    stores += [(rendition.name, output_store(settings, folder, rendition)) for rendition in folder.renditions]
    addresses: dict[tuple[str, str, str], str] = {}
    for name, store in stores:
        where = place if not name else f"{place}, rendition `{name}`"
        missing = [key for key in ("id", "bucket", "region") if not store.get(key)]
        for key in missing if not name else ():
            yield f"{where}: store.{key} is missing; set it in [store] or [folders.store]"
        template = str(store.get("path", DEFAULT_KEY_TEMPLATE)).replace("{rendition}", name)
        address = (str(store.get("id")), str(store.get("bucket")), template)
        if address in addresses:
            other = addresses[address] or "the folder's own output"
            yield f"{where}: store.path gives the same key as {other}; use another path or {{rendition}}"
        addresses[address] = f"rendition `{name}`" if name else ""
        if (size := metadata_bytes(store.get("metadata") or {})) > MAX_METADATA_BYTES:
            yield f"{where}: store.metadata has {size} bytes with ours; {MAX_METADATA_BYTES} are allowed"


def metadata_bytes(metadata: Mapping[str, str]) -> int:
    """What `metadata` and our own two keys weigh together."""
    ours = len("source-sha1") + 40 + len("rule") + 40
    return ours + sum(len(key) + len(value) for key, value in metadata.items())
