"""The configuration: strict, complete in its complaints, silent about values."""

import errno
import tomllib
from pathlib import Path
from typing import Any

import pytest

from watcher.config.loading import load_settings, read_toml
from watcher.config.rules import build_rule
from watcher.config.schema import Settings
from watcher.errors import ConfigurationError

SECRET = "planted-secret-value"
STORE = {"id": "connector", "bucket": "my-bucket", "region": "eu-central-003"}
SERVE = {"serve": {"public_url": "https://drops.example.com"}}


def good(**changes: Any) -> dict[str, Any]:
    """A small configuration that is right."""
    return {
        "compressor": {"api_key": "k"},
        "publish": SERVE,
        "store": STORE,
        "folders": [{"path": "/srv/drop"}],
        "state_dir": "/var/lib/x",
        **changes,
    }


def problems(data: dict[str, Any], environment: dict[str, str] | None = None) -> list[str]:
    """What is wrong with a configuration."""
    with pytest.raises(ConfigurationError) as error:
        load_settings(data, environment or {})
    return list(error.value.problems)


def load(data: dict[str, Any], environment: dict[str, str] | None = None) -> Settings:
    """A configuration that must be accepted."""
    return load_settings(data, environment or {})


def test_the_example_explains_a_configuration_that_loads() -> None:
    """config.example.toml is accepted as it stands, given a key."""
    data = tomllib.loads(Path("config.example.toml").read_text(encoding="utf-8"))

    assert "products" == load(data, {"WATCHER_COMPRESSOR__API_KEY": "k"}).folders[0].name


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("0644", ""),
        ("664", ""),
        (420, "is written like"),
        ("644a", "is written like"),
        ("0888", "is written like"),
        ("0044", "the owner has"),
    ],
    ids=repr,
)
def test_file_modes_are_octal_and_leave_the_owner_his_rights(mode: object, says: str) -> None:
    """As a text: TOML's own numbers would be decimal."""
    data = good(engine={"connectors": {"local": {"kind": "directory", "path": "/b", "file_mode": mode}}})
    if says:
        assert any(says in problem for problem in problems(data))
    else:
        assert load(data).engine.connectors["local"].file_mode == int(str(mode), 8)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("canary", "means"),
    [("auto", "auto"), (False, False), ("10m", 600.0), (True, None), ("never", None), ("0s", None), (60, None)],
    ids=repr,
)
def test_canaries_are_rare_regular_or_none(canary: object, means: object) -> None:
    """An interval has a unit; in the environment all is text."""
    if means is None:
        assert ['canary: is "auto", false or an interval like "10m"'] == problems(good(canary=canary))
        return
    assert load(good(canary=canary)).canary == means
    assert load(good(), {"WATCHER_CANARY": str(canary).lower()}).canary == means


def test_every_problem_is_listed_with_its_place() -> None:
    """One run tells all that is wrong, so that nobody has to start ten times."""
    found = problems(
        good(
            compressor={"api_kye": "x", "timeout": 3, "concurrency": 0},
            folders=[{"path": "relative", "image": {"compression": "hgih"}}, {"path": "/b", "polling": "sometimes"}],
            engine={"connectors": {"local": {"kind": "directory"}}},
        )
    )

    for place in (
        "compressor.api_kye: no such setting",
        "compressor.timeout:",
        "compressor.concurrency:",
        "folders[0].path:",
        "folders[0].image.compression:",
        "folders[1].polling:",
        "engine.connectors.local.path: is missing",
    ):
        assert any(problem.startswith(place) for problem in found), (place, found)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"store": {"id": "c", "region": "r"}}, "store.bucket is missing"),
        ({"store": {}}, "store.id is missing"),
        ({"compressor": {}}, "compressor.api_key: is missing"),
        ({"admin": {"listen": "0.0.0.0:8081"}}, "admin.password: is missing, and `listen` is not a loopback address"),
        ({"folders": []}, "folders: is missing"),
        ({"folders": [{"path": "/a"}, {"path": "/a/b"}]}, "must not overlap"),
        ({"folders": [{"path": "/a", "name": "n"}, {"path": "/b", "name": "n"}]}, "same name"),
        ({"folders": [{"path": "/a", "renditions": [{"name": "t"}]}]}, "gives the same key"),
        ({"folders": [{"path": "/a", "store": {"path": "{nope}"}}]}, "no such field {nope}"),
        ({"folders": [{"path": "/a", "on_failure": "delete"}]}, "never deleted"),
        ({"folders": [{"path": "/a", "on_success": "shred"}]}, "folders[0].on_success"),
        ({"folders": [{"path": "/a", "link": "https://cdn"}]}, "{key}"),
        ({"folders": [{"path": "/a", "image": {"resize": {"mode": "fit", "width": 3}}}]}, "needs both"),
        ({"folders": [{"path": "/a", "image": {"output": {"format": "wepb"}}}]}, "'webp'"),
        ({"folders": [{"path": "/a", "image": {"output": {"background": "#ff"}}}]}, "a colour is written like"),
        ({"folders": [{"path": "/a", "image": {"output": "web"}}]}, "must be a table"),
        ({"publish": {"serve": {"public_url": "https://x.example", "ttl": "60s"}}}, "below compressor.timeout"),
        ({"publish": {"mode": "presign"}}, "publish.presign: is missing"),
        ({"publish": {}}, "publish.serve.public_url: is missing"),
        ({"compressor": {"api_key": "k", "url": "http://api.example.com/1.0"}}, "plain http"),
        ({"store": {**STORE, "headers": {"X-Other": "1"}}}, "Cache-Control"),
        ({"store": {**STORE, "metadata": {"rule": "x"}}}, "`rule` are ours"),
        ({"unheard_of": 1}, "unheard_of: no such setting"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, Any], place: str) -> None:
    """Whatever could only fail later is a problem now."""
    assert any(place in problem for problem in problems(good(**changes))), problems(good(**changes))


def test_unknown_operations_are_passed_on() -> None:
    """The vendor adds operations; unknown keys inside `image` go through as they are."""
    image = {
        "compression": "high",
        "watermark": {"text": "x"},
        "resize": {"width": 5, "gravity": "top"},
        "output": {"format": "web", "vendors": 1},
    }
    settings = load(good(folders=[{"path": "/srv/drop", "image": image}]))

    assert image == build_rule(settings, settings.folders[0]).outputs[0].image


def test_a_rendition_is_laid_over_its_folder_key_by_key() -> None:
    """What a rendition does not say it has from its folder, and that from [store]."""
    folder = {
        "path": "/srv/drop",
        "image": {"compression": "high", "resize": {"width": 1600, "height": 1600}},
        "store": {"path": "{name}", "headers": {"Content-Disposition": "inline"}},
        "renditions": [
            {"name": "t", "image": {"resize": {"width": 320}}, "store": {"path": "t/{name}", "bucket": "other-bucket"}}
        ],
    }
    settings = load(good(folders=[folder], store={**STORE, "headers": {"Cache-Control": "no-cache"}}))
    rule = build_rule(settings, settings.folders[0]).outputs[1]

    assert {"compression": "high", "resize": {"width": 320, "height": 1600}} == rule.image
    assert rule.store == {
        "id": "connector",
        "bucket": "other-bucket",
        "region": "eu-central-003",
        "path": "t/{name}",
        "headers": {"Cache-Control": "no-cache", "Content-Disposition": "inline"},
    }


def test_environment_comes_before_credentials_before_file(tmp_path: Path) -> None:
    """The documented order, for a secret that stands in all three."""
    (tmp_path / "compressor_api_key").write_text("from-credential\n")
    credentials = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    data = good(compressor={"api_key": "from-file"})

    def key(environment: dict[str, str]) -> str:
        secret = load(data, environment).compressor.api_key
        assert secret is not None
        return secret.get_secret_value()

    assert "from-file" == key({})
    assert "from-credential" == key(credentials)
    assert "from-environment" == key({**credentials, "WATCHER_COMPRESSOR__API_KEY": "from-environment"})


def test_all_secrets_can_be_credentials(tmp_path: Path) -> None:
    """Each secret's credential is named by its path; systemd's directory form puts its own name in front."""
    (tmp_path / "secrets_verify_key_id").write_text("id")
    (tmp_path / "verify_application_key").write_text("key")
    (tmp_path / "engine_api_keys").write_text("one\ntwo\n")
    (tmp_path / "engine_connectors_my-b2_key_id").write_text("b2id")
    data = good(engine={"connectors": {"my-b2": {"kind": "b2"}}})
    settings = load(data, {"CREDENTIALS_DIRECTORY": str(tmp_path)})

    assert settings.verify.key_id is not None
    assert "id" == settings.verify.key_id.get_secret_value()
    assert ["one", "two"] == [key.get_secret_value() for key in settings.engine.api_keys]
    assert "b2id" == settings.engine.connectors["my-b2"].key_id.get_secret_value()  # type: ignore[union-attr]


def test_credentials_copied_at_a_reload_come_before_those_of_the_start(tmp_path: Path) -> None:
    """The service's reload puts fresh copies into its runtime directory; what is not there is still had from the start's."""
    started, copied = tmp_path / "started", tmp_path / "run" / "credentials"
    started.mkdir()
    copied.mkdir(parents=True)
    (started / "secrets_compressor_api_key").write_text("old")
    (started / "secrets_engine_api_keys").write_text("one two\n")
    environment = {"CREDENTIALS_DIRECTORY": str(started), "RUNTIME_DIRECTORY": str(tmp_path / "run")}
    (copied / "compressor_api_key").write_text("new")

    settings = load(good(compressor={}), environment)

    assert settings.compressor.api_key is not None
    assert "new" == settings.compressor.api_key.get_secret_value()
    assert ["one", "two"] == [key.get_secret_value() for key in settings.engine.api_keys]


def test_a_credential_belongs_to_one_setting(tmp_path: Path) -> None:
    """The key of a connector that is named like another section is not taken for that section's key."""
    data = good(engine={"connectors": {"verify": {"kind": "b2"}}})
    (tmp_path / "secrets_engine_connectors_verify_key_id").write_text("of-the-connector")

    settings = load(data, {"CREDENTIALS_DIRECTORY": str(tmp_path)})

    assert settings.verify.key_id is None
    assert "of-the-connector" in settings.engine.connectors["verify"].key_id.get_secret_value()  # type: ignore[union-attr]


def test_an_empty_credential_is_a_missing_one(tmp_path: Path) -> None:
    """A credential file without content is told like no file at all."""
    (tmp_path / "compressor_api_key").write_text("\n")

    found = problems(good(compressor={}), {"CREDENTIALS_DIRECTORY": str(tmp_path)})

    assert any(problem.startswith("compressor.api_key: is missing") for problem in found)


def test_a_credential_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    """What cannot be read is said with the file's name, and without its content."""
    (tmp_path / "compressor_api_key").write_bytes(b"\xff\xfe secret")

    found = problems(good(compressor={}), {"CREDENTIALS_DIRECTORY": str(tmp_path)})

    assert [f"credential {tmp_path}/compressor_api_key: cannot be read: it is not UTF-8 text"] == found


@pytest.mark.parametrize("call", ["read_text", "iterdir"])
def test_a_want_of_descriptors_is_said_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """This process has too many files open to read one: it is said what to raise, since the file is not to blame."""
    (tmp_path / "compressor_api_key").write_text("key")

    def starved(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, call, starved)
    found = problems(good(compressor={}), {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    if call == "read_text":
        with pytest.raises(ConfigurationError) as caught:
            read_toml(tmp_path / "config.toml")
        found += caught.value.problems

    assert all("cannot be read: Too many open files" in problem and "LimitNOFILE" in problem for problem in found)
    assert found


def test_a_misspelt_variable_is_an_error_with_a_suggestion() -> None:
    """A typing mistake in the environment is not ignored."""
    found = problems(good(), {"WATCHER_COMPRESOR__API_KEY": SECRET, "WATCHER_LOG__LEVLE": "info"})

    assert any("WATCHER_COMPRESOR__API_KEY" in problem and "`compressor`" in problem for problem in found)
    assert any("WATCHER_LOG__LEVLE" in problem for problem in found)


def test_no_message_and_no_repr_holds_a_secret() -> None:
    """A planted secret in any place, right or wrong, is never repeated."""
    bad = good(
        compressor={"api_key": [SECRET], "timeout": SECRET},
        verify={"key_id": SECRET},
        engine={"connectors": {"x": {"kind": "b2", "application_key": SECRET, "endpoint": SECRET}}},
    )
    found = problems(bad, {"WATCHER_COMPRESSOR__CONCURRENCY": SECRET, "WATCHER_FOLDERS": f"[{SECRET}"})
    settings = load(good(compressor={"api_key": SECRET}))

    assert SECRET not in "".join(found)
    assert SECRET not in repr(settings) + str(settings)


def test_reading_commands_need_no_secret() -> None:
    """`status`, `list`, `tail` work without the API key."""
    data = good(compressor={})

    assert load_settings(data, {}, purpose="read").compressor.api_key is None


def test_the_engine_alone_needs_its_keys_and_no_folders() -> None:
    """`engine` starts on [engine] alone, but never without a key."""
    with pytest.raises(ConfigurationError):
        load_settings({}, {}, purpose="engine")

    assert load_settings({"engine": {"api_keys": ["k"]}}, {}, purpose="engine").folders == ()


def test_the_engine_refuses_a_proxy_that_cannot_be_used() -> None:
    """Naming the variable; nothing is said where nothing would be asked through it."""
    store = {"kind": "b2", "key_id": "i", "application_key": "k"}
    data = {"engine": {"api_keys": ["k"], "connectors": {"b2": store}}}
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY: "):
        load_settings(data, {"HTTPS_PROXY": "foo://proxy:1"}, purpose="engine")
    load_settings({"engine": {"api_keys": ["k"]}}, {"HTTPS_PROXY": "foo://proxy:1"}, purpose="engine")
    load_settings(data, {"HTTPS_PROXY": "http://proxy:1"}, purpose="engine")


PRESIGN = {"endpoint": "https://s3.eu-central-003.backblazeb2.com", "region": "eu-central-003", "bucket": "My-staging"}
KEYS = {"WATCHER_PUBLISH__PRESIGN__KEY_ID": "id", "WATCHER_PUBLISH__PRESIGN__APPLICATION_KEY": "key"}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"bucket": "my/staging"}, "publish.presign.bucket"),
        ({"bucket": ""}, "publish.presign.bucket"),
        ({"bucket": "a" * 64}, "publish.presign.bucket"),
        ({"region": "EU central"}, "publish.presign.region"),
        ({"prefix": "../staging/"}, "`prefix`"),
        ({"prefix": "a/./b/"}, "`prefix`"),
        ({"prefix": "a\\b/"}, "`prefix`"),
        ({"prefix": "a\n/"}, "`prefix`"),
        ({"prefix": "/"}, "`prefix`"),
        ({"prefix": "a" * 500 + "/"}, "`prefix`"),
        ({"endpoint": "https://s3.example.com/my-staging"}, "`endpoint`"),
        ({"endpoint": "s3.example.com"}, "publish.presign.endpoint"),
    ],
)
def test_staging_is_checked_as_strictly_as_the_store(changes: dict[str, str], place: str) -> None:
    """What no store could take is found when the configuration is read, not at the first image."""
    found = problems(good(publish={"mode": "presign", "presign": {**PRESIGN, **changes}}), KEYS)
    assert any(place in problem for problem in found), found


def test_a_bucket_may_have_capitals() -> None:
    """B2's may; so may that of the store."""
    settings = load(good(publish={"mode": "presign", "presign": PRESIGN}, store={**STORE, "bucket": "My-Bucket"}), KEYS)
    assert settings.publish.presign is not None
    assert settings.publish.presign.bucket == "My-staging"


@pytest.mark.parametrize(
    ("environment", "changes", "found"),
    [
        ({"ALL_PROXY": "socks5://user:planted-secret-value@127.0.0.1:1080"}, {}, ["ALL_PROXY"]),
        ({"https_proxy": "nonsense://"}, {}, ["https_proxy"]),
        ({"ALL_PROXY": "socks5://127.0.0.1:1080", "NO_PROXY": "compressor.app,backblazeb2.com"}, {}, []),
        ({"ALL_PROXY": "socks5://127.0.0.1:1080", "HTTPS_PROXY": "proxy.test:3128"}, {}, []),
        ({"ALL_PROXY": "socks5://127.0.0.1:1080"}, {"compressor": {"url": "embedded"}}, []),
        (
            {"ALL_PROXY": "socks5://127.0.0.1:1080", "NO_PROXY": "compressor.app"},
            {"publish": {"mode": "presign", "presign": PRESIGN}, "verify": {"mode": "never"}},
            ["ALL_PROXY"],
        ),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_with_its_variable(
    environment: dict[str, str], changes: dict[str, Any], found: list[str]
) -> None:
    """Once, and only where an address that is asked would need it; the value, which may hold a password, is not repeated."""
    data, environment = good(**changes), {**environment, **(KEYS if changes.get("publish") else {})}
    said = problems(data, environment) if found else (load(data, environment), [])[1]
    assert [problem.partition(":")[0] for problem in said] == found
    assert SECRET not in "".join(said)


@pytest.mark.parametrize("listen", ["[::1]:8080", "[::]:0", "127.0.0.1:8080", "localhost:8080", "[fe80::1%eth0]:8080"])
def test_an_address_to_listen_on(listen: str) -> None:
    """A name or an address, and a port; IPv6 stands in brackets."""
    settings = load(good(publish={"serve": {"listen": listen, "public_url": "http://[::1]:8080"}}))

    assert listen == settings.publish.serve.listen


@pytest.mark.parametrize(
    "listen", ["::1:8080", "::1", "[::1]", "[::1:8080", "[localhost]:80", ":8080", "8080", "a:b:80", "[::]:70000"]
)
def test_an_address_that_is_not_clear_is_refused(listen: str) -> None:
    """Without brackets nobody can tell an IPv6 address from its port."""
    (problem,) = problems(good(publish={"serve": {"listen": listen, "public_url": "http://[::1]:8080"}}))

    assert 'publish.serve.listen: an address is written like "127.0.0.1:8080" or "[::1]:8080"' == problem


@pytest.mark.parametrize("url", ["http://[::1", "http://host:99999", "http://host:port", "http://::1:8080", "http://host:0"])
def test_a_url_that_cannot_be_is_refused(url: str) -> None:
    """In words that show how it is written."""
    (problem,) = problems(good(publish={"serve": {"public_url": url}}))

    assert problem.startswith("publish.serve.public_url: ")
    assert "written like https://host" in problem or "name a host" in problem


def test_names_that_do_not_fit_are_refused_in_words() -> None:
    """Not by the expression that they do not match."""
    found = problems(good(store={**STORE, "bucket": "my_bucket", "region": "EU"}))

    assert "^" not in "".join(found)
    assert any(problem.startswith("store.bucket: a bucket's name has letters, digits, hyphens and dots") for problem in found)
    assert any(problem.startswith('store.region: a region is written like "eu-central-003"') for problem in found)
