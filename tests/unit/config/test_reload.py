"""What a reload takes, and what waits for a restart."""

from typing import Any

import pytest

from watcher.config.loading import load_settings
from watcher.config.reload import NEEDS_RESTART, changed, keeping, waiting_for_restart
from watcher.config.schema import Settings

BEFORE: dict[str, Any] = {
    "state_dir": "/var/lib/x",
    "journal": "postgresql://watcher@db/images",
    "compressor": {"api_key": "old"},
    "store": {"id": "connector", "bucket": "my-bucket", "region": "eu-central-003"},
    "publish": {
        "mode": "presign",
        "presign": {
            "bucket": "staging",
            "region": "eu-central-003",
            "endpoint": "https://s3.eu-central-003.backblazeb2.com",
            "key_id": "old",
            "application_key": "old",
        },
    },
    "folders": [{"path": "/srv/drop"}],
}
ONLY_AT_A_RESTART: dict[str, dict[str, Any]] = {
    "state_dir": {"state_dir": "/var/lib/y"},
    "journal": {"journal": "postgresql://watcher@elsewhere/images"},
    "cluster": {"cluster": {"name": "other"}},
    "keep": {"keep": "1d"},
    "publish": {"publish": {"mode": "serve", "serve": {"public_url": "https://drops.example.com"}}},
    "verify.url": {"verify": {"url": "https://elsewhere.example.com/{bucket}/{key}"}},
    "admin.listen": {"admin": {"listen": "127.0.0.1:9000"}},
    "engine": {"engine": {"listen": "127.0.0.1:9001"}},
    "compressor.url": {"compressor": {"api_key": "old", "url": "https://elsewhere.example.com/1.0"}},
    "compressor.transport": {"compressor": {"api_key": "old", "transport": "httpx"}},
    "log.format": {"log": {"format": "console"}},
    "log.audit": {"log": {"audit": "/var/log/elsewhere.jsonl"}},
}


def settings(**changes: Any) -> Settings:
    return load_settings({**BEFORE, **changes}, {})


def test_every_setting_that_needs_a_restart_is_tried() -> None:
    """The table below is the whole list."""
    assert set(ONLY_AT_A_RESTART) == set(NEEDS_RESTART)


@pytest.mark.parametrize("name", NEEDS_RESTART)
def test_what_needs_a_restart_stays_and_is_named(name: str) -> None:
    """The old value stays in force, the name is told, and nothing else is affected."""
    old, new = settings(), settings(**ONLY_AT_A_RESTART[name])
    kept = keeping(old, new)

    assert kept == old
    assert changed(old, new) == [name.partition(".")[0]]
    assert waiting_for_restart(kept, new) == [name]


def test_everything_else_is_taken_at_once() -> None:
    """Folders, rules, limits, levels and all three kinds of keys."""
    presign = {**BEFORE["publish"]["presign"], "key_id": "new", "application_key": "new"}
    new = settings(
        compressor={"api_key": "new", "concurrency": 3, "timeout": "20s", "max_attempts": 2},
        folders=[{"path": "/srv/other", "image": {"compression": "medium"}}],
        publish={"mode": "presign", "presign": presign},
        verify={"mode": "always"},
        log={"level": "debug"},
        admin={"password": "new"},
        rescan="10s",
    )

    assert keeping(settings(), new) == new
    assert waiting_for_restart(keeping(settings(), new), new) == []
