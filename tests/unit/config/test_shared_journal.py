"""The journal that hosts share, as the configuration has it."""

from pathlib import Path
from typing import Any

import pytest

from watcher.config.loading import load_settings
from watcher.errors import ConfigurationError

URL = "postgresql://watcher@db.example.com/images?sslmode=verify-full"
PASSWORD = "correct horse battery staple"
BASE: dict[str, Any] = {
    "compressor": {"url": "http://127.0.0.1:9/1.0"},
    "store": {"id": "c", "bucket": "b-bucket", "region": "eu-central-003"},
}


def refused(environment: dict[str, str] | None = None, **tables: Any) -> str:
    with pytest.raises(ConfigurationError) as error:
        load_settings({**BASE, **tables}, environment or {}, purpose="read")
    return str(error.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/var/lib/journal.db", "must begin with postgresql://"),
        ("mysql://watcher@db/images", "must begin with postgresql://"),
        ("postgresql://watcher@db.example.com", "must name a database"),
        (f"postgresql://watcher:{PASSWORD.replace(' ', '%20')}@db/images", "must not hold a password"),
        (f"postgresql://db/images?password={PASSWORD.replace(' ', '%20')}", "must not hold a password"),
    ],
    ids=["path", "mysql", "no-database", "password", "password-parameter"],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, words: str) -> None:
    """With what to do, and without repeating it: it may hold a password."""
    told = refused(journal=url, cluster={"name": "scanner-1"}, journal_password=PASSWORD)
    assert words in told
    assert "set `journal`" not in told, "what follows from it is not told as another problem"
    assert "horse" not in told


def test_the_password_comes_from_environment_or_credential(tmp_path: Path) -> None:
    """The environment first; neither shows in any repr."""
    (tmp_path / "journal_password").write_text("from the credential\n")
    credentials = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    both = load_settings({**BASE, "journal": URL}, {**credentials, "WATCHER_JOURNAL_PASSWORD": PASSWORD}, purpose="read")
    one = load_settings({**BASE, "journal": URL}, credentials, purpose="read")

    assert both.journal_password is not None
    assert one.journal_password is not None
    assert both.journal_password.get_secret_value() == PASSWORD
    assert one.journal_password.get_secret_value() == "from the credential"
    assert "horse" not in repr(both)


def test_a_host_is_named_by_the_machine_unless_told() -> None:
    """And the lease has bounds."""
    assert load_settings({**BASE, "journal": URL}, {}, purpose="read").host
    named = load_settings({**BASE, "journal": URL, "cluster": {"name": "scanner-1"}}, {}, purpose="read")
    assert named.host == "scanner-1"
    assert "cluster.lease" in refused(journal=URL, cluster={"lease": "1s"})


def test_what_is_for_several_hosts_is_refused_for_one() -> None:
    """A name or a password without a shared journal is a mistake somewhere."""
    assert "cluster.name" in refused(cluster={"name": "scanner-1"})
    assert "journal_password" in refused({"WATCHER_JOURNAL_PASSWORD": PASSWORD})
