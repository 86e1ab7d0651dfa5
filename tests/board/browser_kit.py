"""Headless Chromium for tests of pages."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

MISSING = "apt-get install chromium chromium-driver"
_WORDS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


def here() -> bool:
    """Whether a browser and its driver are installed."""
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


class Browser:
    """One window, and what it asked for over the network."""

    def __init__(self) -> None:
        options = Options()
        options.binary_location = shutil.which("chromium") or ""
        for word in (*_WORDS, "--window-size=1280,900"):
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        self.driver.set_script_timeout(20)

    def close(self) -> None:
        self.driver.quit()

    def open(self, address: str) -> None:
        self.driver.get(address)

    def forget(self) -> None:
        """As a browser that was never here."""
        self.driver.execute_script("localStorage.clear()")

    def asked(self) -> set[str]:
        """Addresses that were asked for since the last question."""
        found = set()
        for line in self.driver.get_log("performance"):
            message = json.loads(line["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.add(message["params"]["request"]["url"])
        return found

    def complaints(self) -> list[str]:
        """What the console says since the last question."""
        return [line["message"] for line in self.driver.get_log("browser")]

    def until(self, what: Callable[[], Any], seconds: float = 10.0) -> Any:
        """What `what` gives once it is true."""
        end = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < end, self.driver.find_element("tag name", "body").text
            time.sleep(0.03)
        return found

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def verdict(self, name: str = "verdict") -> tuple[str, str, str]:
        """State, code and words of a check that has ended."""
        script = (
            "const v = document.querySelector(arguments[0]); return [v.dataset.state, v.dataset.code, v.textContent]"
        )
        return tuple(
            self.until(lambda: (found := self.driver.execute_script(script, f"[data-is={name}]"))[0] and found)
        )

    def steps(self) -> dict[str, str]:
        """State of each step of the check on the page."""
        script = "return [...document.querySelectorAll('.steps li')].map((one) => [one.dataset.step, one.className])"
        return dict(self.driver.execute_script(script))

    def module(self, body: str, *words: Any) -> Any:
        """The value of an async function with verify.js as `verify` and `words` as `given`."""
        return self.driver.execute_async_script(
            "const given = [...arguments], done = given.pop(), fail = (error) => done(String(error));"
            f"import('/board/static/verify.js').then(async (verify) => {{ {body} }}).then(done, fail)",
            *words,
        )
