"""Debian's Chromium, driven by playwright, and the page of a daemon in it. What breaks a rule of the page is gathered."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.daemon import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
SECOND_MS = 1_000
PATIENCE_MS = 60 * SECOND_MS
"""How long a page is waited for: others use the machine as well."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window; the test is skipped where none is installed."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: chromium)")
    from playwright.sync_api import sync_playwright  # starts a process of its own

    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        environment = {**os.environ, "HOME": home}  # else it writes where another test looks that nobody does
        arguments = ["--no-sandbox", "--disable-gpu", "--in-process-gpu", "--disable-software-rasterizer"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments, env=environment)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Tab:
    """An open page; `trouble` holds what its console and its policy complain of."""

    page: Page
    base: str
    trouble: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self._hear(message.type, message.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.add_init_script(
            "document.addEventListener('securitypolicyviolation', (e) =>"
            " console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`))"
        )

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.trouble.append(text)

    def close(self) -> None:
        """Have it hold nothing of a daemon any more, so that it can be taken to the next one."""
        self.page.goto("about:blank")
        self.page.context.clear_cookies()
        self.trouble.clear()

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.base + path)
        return self.page

    def wait_until(self, expression: str) -> None:
        """Wait until it is true. `wait_for_function` has the page evaluate it again, which the page's own policy forbids."""
        wait_until(lambda: self.page.evaluate(expression))

    def figure(self, name: str) -> int:
        """A number of the first row."""
        return int(self.page.get_attribute(f"[data-figure={name}]", "value") or "-1")

    def scrolls_sideways(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


@contextmanager
def tab(browser: Browser, base: str, **options: Any) -> Iterator[Tab]:
    """A tab of its own, as wide as a desktop unless told otherwise."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    context.set_default_timeout(PATIENCE_MS)
    try:
        yield Tab(context.new_page(), base)
    finally:
        context.close()
