"""The page of a running daemon, in a real browser."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.support.browser import SECOND_MS, Tab, chromium, tab
from tests.support.daemon import Daemon, command, wait_until
from tests.support.pictures import jpeg
from tests.support.standin import Fault, StandinProcess
from tests.support.world import KEY, World

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WHOLE = jpeg(320, 200)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
FORMS = {"url": "URL", "markdown": "Markdown", "html": "HTML", "picture": "Picture with renditions"}
REFUSED = Fault("status", status=422, file="bad*", message="the picture is broken")


@dataclass
class Place:
    """A daemon with its page."""

    world: World
    standin: StandinProcess
    daemon: Daemon
    base: str

    def status(self) -> dict[str, Any]:
        """`status --json`."""
        told: dict[str, Any] = json.loads(command("status", "--json", "--config", self.world.config).stdout)
        return told

    def same_as_status(self, seen: Tab) -> bool:
        """Whether every number of the page is that of the command."""
        told = self.status()
        shown = {
            "queue": told["queue"],
            "in_flight": told["in_flight"],
            "failed": told["failed"],
            "not_whole": told["not_whole"],
            "ignored": told["ignored"],
            "stored": told["ended"]["stored"],
        }
        of_folders = {
            each["name"]: {**each["ended"], "queue": each["queue"], "in_flight": each["in_flight"], "failed": each["failed"]}
            for each in told["folders"]
        }
        return {name: seen.figure(name) for name in shown} == shown and all(
            folder_figures(seen, name).items() <= figures.items() for name, figures in of_folders.items()
        )


def folder_figures(seen: Tab, folder: str) -> dict[str, int]:
    script = """(folder) => Object.fromEntries([...document.querySelectorAll(`[data-folder="${folder}"] data`)]
        .map((each) => [each.dataset.count, Number(each.value)]))"""
    found: dict[str, int] = seen.page.evaluate(script, folder)
    assert found
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with StandinProcess() as standin:
        link = standin.verify_url.replace("{bucket}", "my-bucket")
        folder = {"name": "products", "path": tmp_path / "drop", "link": link}
        world = World(tmp_path, standin, changes={"admin": {"listen": "127.0.0.1:0"}, "folders": [folder]})
        with Daemon(world.config, KEY) as daemon:
            yield Place(world, standin, daemon, admin_address(daemon))


def admin_address(daemon: Daemon) -> str:
    """Where the page is: the daemon says so."""
    return str(daemon.events("service.ready")[0]["admin_url"])


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[Tab]:
    """A tab as wide as a desktop that is taken from daemon to daemon: to open one takes longer than what most tests do in it."""
    with tab(browser, "about:blank") as opened:
        yield opened


@pytest.fixture
def seen(window: Tab, place: Place) -> Iterator[Tab]:
    window.base = place.base
    window.open()
    window.wait_until("document.getElementById('live').textContent === 'live'")
    yield window
    trouble = list(window.trouble)
    window.close()
    assert trouble == []


def test_a_drop_is_on_an_open_page_within_a_second(place: Place, seen: Tab) -> None:
    """With its picture, its sizes and its link; and the numbers are those of `status`. A busy machine has five tries."""
    took = [60.0]
    for number in range(5):
        if number >= 3 and min(took) < 1.0:
            break
        began = time.monotonic()
        place.world.put(f"chair-{number}.jpg", WHOLE + b"%d" % number)
        image = seen.page.locator("#latest .image", has_text=f"chair-{number}.jpg")
        image.get_by_text("stored").wait_for()
        took.append(time.monotonic() - began)
    assert min(took) < 1.0

    line = place.daemon.wait_for("image.stored", len(took) - 1)[-1]
    assert image.locator("a.address").get_attribute("href") == line["link"]
    seen.wait_until("document.querySelector('#latest img')?.naturalWidth === 320")
    assert wait_until(lambda: place.same_as_status(seen), 5, pause=0.2)


def test_a_cut_file_is_seen_waiting_and_an_ignored_one_lying(place: Place, seen: Tab) -> None:
    """Each with why; made whole it is stored, and no longer waited for."""
    (place.world.drop / "cut.jpg").write_bytes(WHOLE[:-700])
    place.world.put("notes.jpg", b"no picture at all, just words")
    seen.page.locator("#waiting", has_text="cut.jpg").wait_for(timeout=20 * SECOND_MS)
    seen.page.locator("#ignored", has_text="notes.jpg").wait_for()
    assert wait_until(lambda: place.same_as_status(seen), 5, pause=0.2)
    assert (seen.figure("not_whole"), seen.figure("ignored")) == (1, 1)

    place.world.put("cut.jpg", WHOLE)
    seen.page.locator("#latest .image", has_text="cut.jpg").wait_for(timeout=20 * SECOND_MS)
    seen.page.locator("#waiting").wait_for(state="detached")


def test_a_failure_is_retried_from_the_page(place: Place, seen: Tab) -> None:
    """It stands there with its reason and a hint; after the retry it is stored and no longer failed."""
    place.standin.set_faults(REFUSED)
    place.world.put("bad.jpg", WHOLE)
    group = seen.page.locator("#failed-rejected")
    group.get_by_text("the picture is broken").wait_for()
    assert group.locator(".hint").inner_text()
    assert wait_until(lambda: place.same_as_status(seen), 5, pause=0.2)
    assert seen.figure("failed") == 1

    place.standin.set_faults()
    group.get_by_role("button", name=re.compile(r"^Retry bad\.jpg")).click()
    seen.page.get_by_text("1 image put back in the queue.").wait_for()
    seen.page.locator("#latest .image", has_text="stored").wait_for()
    group.wait_for(state="detached")
    place.daemon.wait_for("image.stored")
    assert wait_until(lambda: place.same_as_status(seen), 5, pause=0.2)
    assert seen.figure("failed") == 0


def test_failures_are_dismissed_from_the_page(place: Place, seen: Tab) -> None:
    """One and then the rest of its reason; they count as failed no longer, and their history says so."""
    place.standin.set_faults(REFUSED)
    for number in range(3):
        place.world.put(f"bad {number}.jpg", WHOLE + b"%d" % number)
    seen.page.locator("#failed-rejected data[value='3']").wait_for()

    seen.page.get_by_role("button", name="Dismiss bad 1.jpg").click()
    seen.page.locator("#failed-rejected data[value='2']").wait_for()
    seen.page.get_by_role("button", name=re.compile("^Dismiss these")).click()
    seen.page.locator("#failed-rejected").wait_for(state="detached")
    assert wait_until(lambda: place.same_as_status(seen), 5, pause=0.2)
    assert place.status()["failed"] == 0
    assert "bad" not in command("list", "--state", "failed", "--config", place.world.config).stdout

    seen.page.get_by_role("link", name="bad 1.jpg").click()
    seen.page.locator(".steps", has_text="dismissed").wait_for()


def test_a_pause_is_made_and_ended_on_the_page(place: Place, seen: Tab) -> None:
    """What is dropped meanwhile waits, and goes on its way afterwards."""
    seen.page.get_by_role("button", name="Pause products").click()
    seen.page.get_by_role("button", name="Resume products").wait_for()
    place.world.put("chair.jpg", WHOLE)
    seen.page.locator("#underway", has_text="chair.jpg").wait_for()
    assert wait_until(lambda: place.same_as_status(seen), 5, pause=0.2)
    assert place.standin.report()["asked"] == {}

    seen.page.get_by_role("button", name="Resume products").click()
    seen.page.locator("#latest .image", has_text="chair.jpg").wait_for()


def test_addresses_are_copied_in_every_form(browser: Browser, tmp_path: Path) -> None:
    """What `links` prints; by pointer and by keyboard, and Escape closes the menu."""
    with StandinProcess() as standin:
        rendition = {"name": "thumb", "store": {"path": "thumbs/{name}"}}
        folder = {"name": "products", "path": tmp_path / "drop", "renditions": [rendition]}
        world = World(tmp_path, standin, changes={"admin": {"listen": "127.0.0.1:0"}, "folders": [folder]})
        with Daemon(world.config, KEY) as daemon, tab(browser, admin_address(daemon)) as seen:
            seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=seen.base)
            world.put("red chair.jpg", WHOLE)
            daemon.wait_for("image.stored", 2)
            page = seen.open()
            menu = page.locator("#latest details.menu")
            for form, name in (
                ("url", "URL"),
                ("markdown", "Markdown"),
                ("html", "HTML"),
                ("picture", "Picture with renditions"),
            ):
                menu.locator("summary").click()
                menu.get_by_role("button", name=name).click()
                page.get_by_text("Copied.").wait_for()
                printed = command("links", "--as", form, world.drop / "red chair.jpg", "--config", world.config).stdout
                wanted = printed.strip() if form == "picture" else printed.splitlines()[0]
                assert page.evaluate("navigator.clipboard.readText()") == wanted
                page.locator("#notice").evaluate("(notice) => { notice.textContent = '' }")
            page.keyboard.press("Enter")
            assert menu.get_attribute("open") is not None
            page.keyboard.press("Escape")
            assert menu.get_attribute("open") is None


def test_forged_forms_change_nothing(place: Place) -> None:
    """Another origin, none, no token, a wrong one: 403, and the failure stays."""
    place.standin.set_faults(REFUSED)
    place.world.put("bad.jpg", WHOLE)
    place.daemon.wait_for("image.failed")
    page = httpx.get(place.base)
    found = re.search(r'name="token" value="([\w-]+)"', page.text)
    assert found is not None
    own, token = {"Origin": place.base}, found[1]

    for action in ("retry", "dismiss", "pause", "resume"):
        for headers, form in (
            ({"Origin": "https://evil.example"}, {"token": token}),
            ({}, {"token": token}),
            (own, {}),
            (own, {"token": token[:-1] + "x"}),
            ({**own, "Sec-Fetch-Site": "cross-site"}, {"token": token}),
        ):
            answer = httpx.post(f"{place.base}/{action}", data=form, headers=headers)
            assert (answer.status_code, "token" in answer.text) == (403, False), (action, headers, form)
    assert place.status()["failed"] == 1

    answer = httpx.post(f"{place.base}/dismiss", data={"token": token, "back": "//evil.example"}, headers=own)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/?done=dismissed-1")
    assert place.status()["failed"] == 0


def test_without_script_everything_is_there(browser: Browser, place: Place) -> None:
    """It is not live, and that is all: buttons, search and histories work."""
    place.standin.set_faults(REFUSED)
    place.world.put("chairs/bad.jpg", WHOLE)
    place.daemon.wait_for("image.failed")
    with tab(browser, place.base, java_script_enabled=False) as plain:
        page = plain.open()
        page.get_by_role("button", name="Dismiss chairs/bad.jpg").click()
        assert page.locator("#notice").inner_text() == "1 image dismissed."
        assert plain.figure("failed") == 0
        assert page.locator("button.copy:visible").count() == 0

        page.fill("#q", "bad.j")
        page.keyboard.press("Enter")
        page.get_by_role("link", name="chairs/bad.jpg").click()
        assert page.locator("h1").inner_text() == "chairs/bad.jpg"
        assert plain.trouble == []


@pytest.mark.parametrize("text", ["chairs/red", "products/chairs/red chair.jpg", "link", "id", "RED"])
def test_search_finds_by_file_key_url_and_id(place: Place, text: str) -> None:
    """The beginning of a path or key is enough; of a new image's name any part."""
    place.world.put("chairs/red chair.jpg", WHOLE)
    place.world.put("table.jpg", WHOLE + b"1")
    line = next(each for each in place.daemon.wait_for("image.stored", 2) if "chair" in each["file"])
    wanted = {"link": line["link"], "id": line["id"][:8]}.get(text, text)

    answer = httpx.get(place.base + "/search", params={"q": wanted})
    assert answer.status_code == 200
    assert "chairs/red chair.jpg" in answer.text
    assert "table.jpg" not in answer.text
    assert "Nothing found" in httpx.get(place.base + "/search", params={"q": "%"}).text


def test_file_names_are_only_text(place: Place, seen: Tab) -> None:
    """Whatever a name holds: markup in it is shown, not done."""
    name = "<img src=x onerror=alert(1)>&\"'.jpg"
    place.world.put(name, WHOLE)
    seen.page.get_by_role("link", name=name).click()
    assert seen.page.locator("h1").inner_text() == name


def test_nothing_scrolls_sideways_on_a_phone(browser: Browser, place: Place) -> None:
    """At 375 px, with long names in every place, light and dark."""
    place.standin.set_faults(REFUSED)
    long = "a-very-long-name-without-any-space-in-it-" * 4
    for name in (f"bad-{long}.jpg", f"good-{long}.jpg"):
        place.world.put(name, WHOLE)
    place.world.put(f"notes-{long}.jpg", b"words")
    place.daemon.wait_for("image.stored")
    line = place.daemon.wait_for("image.failed")[0]
    with tab(browser, place.base, viewport={"width": 375, "height": 800}) as phone:
        for path in ("/", f"/images/{line['id']}", "/search?q=good", "/search?q=nothing", "/images/nobody"):
            for scheme in SCHEMES:
                phone.page.emulate_media(color_scheme=scheme)
                phone.open(path)
                assert not phone.scrolls_sideways(), (path, scheme)
        assert [each for each in phone.trouble if "404" not in each] == []


def test_axe_finds_nothing_serious(browser: Browser, place: Place) -> None:
    """On the page with something of everything, an image's history, and a search, light and dark; not even small things."""
    place.standin.set_faults(REFUSED)
    for name in ("bad.jpg", "chair.jpg", "table.jpg"):
        place.world.put(name, WHOLE + name.encode())
    place.world.put("notes.jpg", b"words")
    place.daemon.wait_for("image.stored", 2)
    line = place.daemon.wait_for("image.failed")[0]
    place.daemon.wait_for("image.ignored")
    command("pause", "--config", place.world.config)
    with tab(browser, place.base, reduced_motion="reduce") as seen:
        for scheme in SCHEMES:
            seen.page.emulate_media(color_scheme=scheme)
            for path in ("/", f"/images/{line['id']}", "/search?q=chair", "/search?q=nothing"):
                page = seen.open(path)
                found = Axe().run(page)
                told = [(each["id"], each["nodes"][0]["html"]) for each in found.response["violations"]]
                assert told == [], (path, scheme)
            page = seen.open()
            page.locator("#latest details.menu summary").first.click()
            assert [] == Axe().run(page, "#latest").response["violations"]


def test_everything_is_reached_by_keyboard(place: Place, seen: Tab) -> None:
    """Tab leads to every link, field and button in the order of the page; Enter presses; focus survives a change."""
    place.standin.set_faults(REFUSED)
    place.world.put("bad.jpg", WHOLE)
    seen.page.locator("#failed-rejected").wait_for()
    wanted = seen.page.locator("a[href], button:visible, input:not([type=hidden]), summary:visible").count()
    reached: list[str] = []
    for _ in range(wanted):
        seen.page.keyboard.press("Tab")
        reached.append(seen.page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id"))
    assert reached[:3] == ["Skip to the content", "compressor-watcher", "q"]
    assert {"Retry bad.jpg", "Dismiss bad.jpg"} <= set(reached)

    seen.page.get_by_role("button", name="Dismiss bad.jpg").focus()
    place.world.put("chair.jpg", WHOLE)
    seen.page.locator("#latest .image", has_text="chair.jpg").wait_for()
    assert seen.page.evaluate("document.activeElement.textContent") == "Dismiss bad.jpg"
    seen.page.keyboard.press("Enter")
    seen.page.locator("#failed-rejected").wait_for(state="detached")


def test_an_open_page_follows_a_restart(place: Place, seen: Tab) -> None:
    """It loads itself anew: the buttons of the new process have another token."""
    port = int(place.base.rpartition(":")[2])
    place.daemon.stop()
    place.world.write_config(admin={"listen": f"127.0.0.1:{port}"})
    with Daemon(place.world.config, KEY):
        place.world.put("chair.jpg", WHOLE)
        seen.page.locator("#latest .image", has_text="chair.jpg").wait_for(timeout=20 * SECOND_MS)
        seen.page.get_by_role("button", name="Pause products").click()
        seen.page.get_by_role("button", name="Resume products").wait_for()
    seen.trouble.clear()  # while nobody listened it said so in the console


def test_other_names_than_loopback_are_refused_without_a_password(place: Place) -> None:
    """A site whose name is made to lead here could read everything."""
    answer = httpx.get(place.base, headers={"Host": "evil.example"})
    assert answer.status_code == 421
    assert "password" in answer.text
    assert httpx.get(place.base + "/healthz", headers={"Host": "evil.example"}).status_code == 200
