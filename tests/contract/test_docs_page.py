"""/docs in a real browser, which reaches this machine and no other."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import element_to_be_clickable
from selenium.webdriver.support.wait import WebDriverWait

from tests.processes import Gunicorn

pytestmark = pytest.mark.long

SECONDS = 30
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--no-first-run", "--window-size=1200,900"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


class Page:
    """Swagger UI, as a reader uses it."""

    def __init__(self, driver: Chrome, url: str) -> None:
        self.driver = driver
        self.wait = WebDriverWait(driver, SECONDS)
        driver.get(url)

    def click(self, selector: str) -> None:
        element = self.wait.until(element_to_be_clickable((By.CSS_SELECTOR, selector)))
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def find(self, selector: str) -> WebElement:
        return self.wait.until(lambda driver: driver.find_element(By.CSS_SELECTOR, selector))

    def paste(self, selector: str, text: str) -> None:
        self.driver.execute_script("arguments[0].focus()", self.find(selector))
        self.driver.execute_script("document.execCommand('insertText', false, arguments[0])", text)

    def try_out(self, operation: str, **parameters: str) -> tuple[int, Any]:
        """Press "Try it out" and "Execute", with the example as the body; return the answer."""
        block = f"#operations-{operation}"
        self.click(f"{block} .opblock-summary-control")
        self.click(f"{block} .try-out__btn")
        for name, value in parameters.items():
            self.paste(f"{block} tr[data-param-name={name}] input", value)
        self.click(f"{block} .execute")
        answer = f"{block} .live-responses-table tbody"
        status = self.find(f"{answer} .response-col_status").text
        body = self.find(f"{answer} .highlight-code code").text
        return int(status.split()[0]), json.loads(body)

    def authorize(self, token: str) -> None:
        self.click("#authorize")
        self.paste("#auth-bearer-value", token)
        self.click(".auth-container button.authorize")
        self.click(".auth-container button.btn-done")


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Chrome]:
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("there is no chromium, or no chromedriver (Debian: chromium chromium-driver)")
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'chromium'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with Chrome(options, Service(chromedriver)) as driver:
        yield driver


def hosts_asked(driver: Chrome) -> set[str]:
    """Return the hosts that the page has sent requests to."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    return {urlsplit(url).netloc for url in urls if url.startswith(("http", "ws"))}


def test_the_examples_are_for_the_host_of_the_page(server: Gunicorn, driver: Chrome) -> None:
    page = Page(driver, f"{server.url}/docs")

    text = page.find(".info .renderedMarkdown").text

    assert f"HOST={server.url}\n" in text
    assert "localhost:8000" not in text


@pytest.mark.parametrize("width", [1280, 390])
def test_the_contents_and_authorize_are_in_reach_at_any_width(
    server: Gunicorn, driver: Chrome, width: int
) -> None:
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    page = Page(driver, f"{server.url}/docs")

    page.click("nav a[href='#errors']")
    heading, button = page.find("#errors"), page.find("#authorize")

    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    for element, top in ((heading, 300), (button, 60)):
        box = driver.execute_script("return arguments[0].getBoundingClientRect()", element)
        assert 0 <= box["top"] < top
        assert box["right"] <= width
    links = driver.find_elements(By.CSS_SELECTOR, "nav a")
    targets = [str(link.get_dom_attribute("href")) for link in links]
    assert len(targets) >= 10
    assert all(driver.find_elements(By.CSS_SELECTOR, target) for target in targets)


def test_a_reader_tries_out_what_the_page_describes(server: Gunicorn, driver: Chrome) -> None:
    page = Page(driver, f"{server.url}/docs")

    status, user = page.try_out("auth-signup")
    assert status == 201
    status, tokens = page.try_out("auth-login")
    assert status == 200
    page.authorize(tokens["access_token"])
    status, book = page.try_out("books-create_book")
    assert (status, book["user_uid"]) == (201, user["id"])
    status, read = page.try_out("books-get_book", book_id=book["id"])
    assert (status, read) == (200, book)

    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert hosts_asked(driver) == {urlsplit(server.url).netloc}
