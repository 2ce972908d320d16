"""Dagster's UI as a person meets it: `lakehouse dev` in a process of its own, and Chromium looking at it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
START_SECONDS = 180
END_SECONDS = 90
WAIT_MILLISECONDS = 30_000
LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries {
    loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } } }"""

Found = TypeVar("Found")


def require_chromium() -> str:
    """Path of Chromium. Without it the tests are skipped, or fail where everything must be tested."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found:
        return found
    missing = "The browser test needs Chromium. Debian: apt-get install chromium"
    if os.environ.get("LAKEHOUSE_TEST_REQUIRE_ALL"):
        pytest.fail(missing)
    pytest.skip(missing)


@dataclass
class Product:
    """`lakehouse dev`, running."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data that Dagster's GraphQL endpoint answers. An error in the answer fails the test."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"{self.url}/graphql", body, {"content-type": "application/json"})
        with urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    def until(self, found: Callable[[], Found | None], seconds: int, what: str) -> Found:
        """What `found` returns as soon as it is something. Fails after `seconds`, at once when the product ends."""
        for _ in range(seconds):
            result = found()
            if result:
                return result
            try:
                code = self.process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                continue
            pytest.fail(f"`lakehouse dev` ended with {code} while waiting for {what}:\n{self.last_lines()}")
        pytest.fail(f"{what}: not within {seconds} s\n{self.last_lines()}")

    def loaded(self) -> bool:
        """Whether the UI answers and has the definitions. Fails when they cannot be loaded."""
        try:
            workspace = self.graphql(LOCATIONS)["workspaceOrError"]
        except (URLError, ConnectionError):
            return False
        entries = workspace["locationEntries"]
        for entry in entries:
            loaded = entry["locationOrLoadError"]
            assert loaded is None or loaded["__typename"] == "RepositoryLocation", loaded
        return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)

    def last_lines(self) -> str:
        """The end of what `lakehouse dev` printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])


@contextmanager
def running_product(log: Path) -> Iterator[Product]:
    """`lakehouse dev` on free ports, with this process's settings; ended as a person does, with Ctrl-C."""
    port, code_port = free_ports(2)
    command = [str(Path(sys.executable).parent / "lakehouse"), "dev", "--port", str(port), "--code-port", code_port]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    product = Product(process, f"http://127.0.0.1:{port}", log)
    try:
        product.until(product.loaded, START_SECONDS, "the UI with the definitions")
        yield product
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=END_SECONDS) == 0, product.last_lines()
    finally:
        if process.poll() is None:
            process.terminate()  # `lakehouse dev` ends its children before itself
            process.wait(timeout=END_SECONDS)


def free_ports(count: int) -> list[str]:
    """Ports nothing listens on, different from each other."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [str(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


@dataclass
class Browser:
    """One page of Chromium on the product."""

    page: Page
    product: Product
    screenshots: tuple[Path, ...]

    def open(self, path: str) -> Page:
        """Go to a page of the UI."""
        self.page.goto(f"{self.product.url}/{path}")
        return self.page

    def seen(self, text: str) -> Locator:
        """What shows exactly this text and is visible: the UI keeps invisible copies to measure widths."""
        return self.page.get_by_text(text, exact=True).locator("visible=true")

    def screenshot(self, name: str) -> None:
        """Keep what is to be seen, for people: in the test's folder and in LAKEHOUSE_SCREENSHOTS."""
        for folder in self.screenshots:
            folder.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=folder / f"{name}.png")


@contextmanager
def chromium_on(product: Product, folder: Path) -> Iterator[Browser]:
    """Chromium, showing the product."""
    wanted = os.environ.get("LAKEHOUSE_SCREENSHOTS")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=require_chromium(), args=list(SWITCHES))
        page = chromium.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(WAIT_MILLISECONDS)
        expect.set_options(timeout=WAIT_MILLISECONDS)
        yield Browser(page, product, (folder, Path(wanted)) if wanted else (folder,))
        chromium.close()
