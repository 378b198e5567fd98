"""The page of an experiment in Chromium, as a reader uses it.

With USERBENCH_SCREENSHOTS set to a folder, the pictures are kept there.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from experiment_tree import HOSTILE


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory) -> Path:
    """Where the pictures go."""
    kept = os.environ.get("USERBENCH_SCREENSHOTS")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def browser(request, tmp_path, reports):
    """Chromium with the page of the first experiment open; its logs are checked in the end."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium-driver)")
    width, height = request.param
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        *(f"user-data-dir={tmp_path / 'profile'}", f"window-size={width},{height}"),
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        chrome.get((reports[0] / "results/first/report.html").as_uri())
        chrome.name_of_size = request.node.callspec.id
        yield chrome
        assert chrome.get_log("browser") == []
        # The latter two are the browser's own first tab, from itself.
        allowed = {"file", "data", "chrome", "chrome-untrusted"}
        assert {address.partition(":")[0] for address in requests(chrome)} <= allowed
    finally:
        chrome.quit()


def requests(chrome) -> list[str]:
    """Every address that was asked for since the last call."""
    events = (json.loads(entry["message"])["message"] for entry in chrome.get_log("performance"))
    asked = [
        e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"
    ]
    assert asked, "the log of requests is empty: it proves nothing"
    return asked


def one(chrome, selector: str):
    """The first element that fits."""
    return chrome.find_element("css selector", selector)


def wait_for(chrome, script: str) -> Any:
    """What a script returns, once that is true."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(chrome, 60).until(lambda c: c.execute_script(f"return {script}"))


def column(chrome, place: int) -> list[str]:
    """The texts of a column of Table 2, from the top."""
    rows = chrome.find_elements("css selector", "#table2 tbody tr")
    return [row.find_elements("css selector", "th, td")[place].text for row in rows]


@pytest.mark.slow
def test_sort_click_and_follow(browser, screenshots):
    """As a reader would, with the keyboard: sort, read a cell's story, enlarge a figure."""
    from selenium.webdriver.common.keys import Keys

    def kept(name: str) -> None:
        browser.save_screenshot(str(screenshots / f"{browser.name_of_size}-{name}.png"))

    # Nothing sticks out of the window; wide tables scroll in their boxes.
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    kept("top")
    # What is hostile is shown as it was written.
    assert HOSTILE in column(browser, 0)

    header = "#table2 thead th:nth-child(2)"
    assert column(browser, 0)[0] == "None"
    one(browser, f"{header} button").send_keys(Keys.ENTER)
    assert one(browser, header).get_attribute("aria-sort") == "descending"
    assert [text.split("±")[0] for text in column(browser, 1)] == ["67.33", "55.00", "52.00"]
    one(browser, f"{header} button").send_keys(Keys.SPACE)
    assert one(browser, header).get_attribute("aria-sort") == "ascending"
    assert [text.split("±")[0] for text in column(browser, 1)] == ["52.00", "55.00", "67.33"]
    assert one(browser, "#table2 .cell.best").text.startswith("67.33")
    kept("sorted")

    # Wrong: a table of sixty rows pushes all that follows pages down, or loses its header.
    assert browser.execute_script(
        """
        const box = document.querySelector("#verdict .box"), rows = box.querySelector("tbody");
        const top = (part) => part.getBoundingClientRect().top;
        for (let copies = 0; copies < 60; copies++) rows.append(rows.rows[0].cloneNode(true));
        box.scrollTop = 500;
        const well = box.scrollTop === 500 && Math.abs(top(box.querySelector("th")) - top(box)) < 3;
        while (rows.rows.length > 1) rows.lastChild.remove();
        return well;
        """
    )

    cell = one(browser, '[data-cell="adaptssr/gender"]')
    browser.execute_script("arguments[0].focus()", cell)
    assert "95% interval" in one(browser, "#tip").text
    assert "verdict: undecided" in one(browser, "#tip").text
    kept("interval")
    cell.send_keys(Keys.ENTER)
    wait_for(browser, "document.querySelectorAll('#story .vega svg').length === 2")
    story = one(browser, "#story").text
    for part in (
        *("95% interval", "Seed 0: 60.00", "Seed 2: 70.00", "sha256 " + "0" * 64, "AUC, test"),
        "snakemake --cores 1 --configfile config.yaml --forcerun finetune_ttl --",
        *("SIMULATED", "USERBENCH_TTL", "Resolved config of pre-training", "Machine"),
        "loss 3.000 → 1.500, own measure 0.250 → 0.125",  # of the method, on held-out users
    ):
        assert part in story
    kept("story")
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    wait_for(browser, "!document.querySelector('#story').open")
    assert browser.switch_to.active_element == cell  # the focus is back

    one(browser, 'nav a[href="#ablation"]').send_keys(Keys.ENTER)
    wait_for(
        browser, "Math.abs(document.querySelector('#ablation').getBoundingClientRect().top) < 300"
    )
    one(browser, "#ablation .picture").send_keys(Keys.ENTER)
    assert wait_for(browser, "document.querySelector('#large img').naturalWidth") == 400
    kept("figure")
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    wait_for(browser, "!document.querySelector('#large').open")

    # Two encoders, two tasks, and all jobs; a chart is drawn when its place comes into view.
    places = (("curves", "losses", 2), ("curves", "validation", 2), ("time", "jobs", 1))
    for section, place, drawn in places:
        one(browser, f'nav a[href="#{section}"]').send_keys(Keys.ENTER)
        box = one(browser, f'[data-charts="{place}"]')
        browser.execute_script("arguments[0].scrollIntoView({behavior: 'instant'})", box)
        charts = f"[data-charts={place}] .vega svg"
        wait_for(browser, f"document.querySelectorAll('{charts}').length === {drawn}")
        kept(place)


@pytest.mark.slow
def test_light_and_dark(browser, screenshots):
    """As the system says, and as the reader says; charts follow."""

    def background() -> str:
        return browser.execute_script("return getComputedStyle(document.body).backgroundColor")

    def labels(last: str = "") -> str:
        # Why: the page draws again some time after its colours changed, and may be seen before.
        label = "document.querySelector('#time .vega svg text')?.getAttribute('fill')"
        return wait_for(browser, f"{label} !== '{last}' && {label}")

    one(browser, 'nav a[href="#time"]').click()
    seen = {"light": (background(), labels())}
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    seen["dark"] = (background(), labels(seen["light"][1]))
    assert seen["light"][0] != seen["dark"][0]
    assert seen["light"][1] != seen["dark"][1]
    browser.save_screenshot(str(screenshots / f"{browser.name_of_size}-dark.png"))
    one(browser, "#theme").click()  # light, although the system is dark
    assert (background(), labels(seen["dark"][1])) == seen["light"]
