"""The UI in a real browser; what it shows is left in build/ui, where docs/pictures come from."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

pytestmark = pytest.mark.services

PICTURES = Path(__file__).resolve().parents[3] / "build" / "ui"
CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
# Chromium's own traffic is off: its refused connections would only fill the log.
SWITCHES = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --window-size=1400,900"""
ValueT = TypeVar("ValueT")
MONTH = [f"2026-05-{day:02d}_R022_T{tile}" for day in (1, 4, 7, 10) for tile in ("32TQM", "33TUG")]
OTHER_MONTH = [key.replace("2026-05", "2026-06") for key in MONTH]


class Browser:
    """A page of the UI."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self._driver = driver
        self._url = url

    def open(self, path: str, until: str) -> None:
        self._driver.get(self._url + path)
        self.shows(until)

    @property
    def text(self) -> str:
        return str(self._driver.find_element(By.TAG_NAME, "body").text)

    def shows(self, text: str) -> None:
        self._retry(lambda: text in self.text, text)

    def click(self, xpath: str) -> None:
        def click() -> bool:
            self._driver.find_element(By.XPATH, xpath).click()
            return True

        self._retry(click, xpath)

    def type(self, text: str) -> None:
        self._driver.switch_to.active_element.send_keys(text)

    def pictures(self) -> list[int]:
        """The widths of the pictures within events that the page has drawn."""
        script = """return [...document.querySelectorAll('img')]
            .filter(image => image.src.startsWith('data:image/png')).map(image => image.naturalWidth)"""
        return list(self._retry(lambda: self._driver.execute_script(script), "a picture"))

    def keep(self, name: str) -> None:
        time.sleep(1.5)  # transitions
        PICTURES.mkdir(parents=True, exist_ok=True)
        self._driver.save_screenshot(str(PICTURES / f"{name}.png"))

    def _retry(self, attempt: Callable[[], ValueT], what: str) -> ValueT:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                if value := attempt():
                    return value
            except WebDriverException:
                pass
            time.sleep(0.3)
        pytest.fail(f"no {what!r} on {self._driver.current_url}; it shows: {self.text[-1500:]}")


@pytest.fixture
def browser(platform: Any, tmp_path: Path) -> Iterator[Browser]:
    if not (CHROMIUM.exists() and DRIVER.exists()):
        pytest.fail("Chromium is missing: run scripts/install_services")
    options = Options()
    options.binary_location = str(CHROMIUM)
    for switch in (*SWITCHES.split(), f"--user-data-dir={tmp_path}"):
        options.add_argument(switch)
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        yield Browser(driver, platform.url)
    finally:
        driver.quit()


def test_the_chain_is_drawn_from_the_first_asset_to_the_product(browser: Browser) -> None:
    browser.open("/assets/land_cover_product?view=lineage&lineageScope=upstream&lineageDepth=6", "discovered_items")
    for asset in ("clear_scenes", "patches", "segmentation", "land_cover_raster", "land_cover_product"):
        browser.shows(asset)
    assert "Welcome to Dagster" not in browser.text
    browser.keep("lineage")


def test_the_grid_shows_each_scene_and_model_and_the_picture_of_one(browser: Browser, platform: Any) -> None:
    with platform.instance() as instance:
        scene = instance.get_dynamic_partitions("scene")[0]
    browser.open(f"/assets/land_cover_raster?view=partitions&partition=corine-unet-v2%7C{scene}", "Partitions Selected")
    browser.shows("Materialized (")
    browser.shows("Mixed forest")
    browser.keep("partitions")
    browser.click("//button[contains(.,'Show Markdown')] | //a[contains(.,'Show Markdown')]")
    assert max(browser.pictures()) > 500
    browser.keep("picture")


def test_checks_are_shown_with_what_they_found(browser: Browser, platform: Any) -> None:
    # The page shows the checks of the latest materialisation. After runs in parallel those that came in last may
    # belong to an earlier one ("Not evaluated"): one run more, alone, makes the two agree.
    with platform.instance() as instance:
        scene = instance.get_dynamic_partitions("scene")[0]
    run = platform.launch("land_cover", f"corine-unet-v2|{scene}")
    platform.wait(lambda: any(done["runId"] == run for done in platform.runs(statuses=["SUCCESS"])), 300)
    browser.open("/assets/land_cover_raster?view=checks", "valid_fraction")
    browser.click("//*[text()='valid_fraction']")
    browser.shows("% was observed")
    browser.keep("checks")


def test_a_month_and_a_tile_are_chosen_by_substring_in_the_backfill_dialog(browser: Browser, platform: Any) -> None:
    with platform.instance() as instance:
        instance.add_dynamic_partitions("scene", [*MONTH, *OTHER_MONTH])
    try:
        with platform.instance() as instance:
            keys = instance.get_dynamic_partitions("scene")
        for part, name in (("2026-05", "month"), ("T33TUG", "tile")):
            chosen = sum(part in key for key in keys)
            assert 1 < chosen < len(keys)
            browser.open("/assets/segmentation?view=partitions", "Partitions Selected")
            browser.click("//button[starts-with(normalize-space(.),'Materialize')]")
            browser.shows("Launch runs to materialize segmentation")
            browser.click("(//*[contains(.,'Select a partition or create one') and not(*)])[last()]")
            browser.shows("Select all")
            browser.type(part)
            browser.shows(f"Select all ({chosen})")
            browser.keep(f"backfill_{name}")
            browser.click("//*[starts-with(text(),'Select all')]")
            browser.shows("maximum of 10 partitions per run")
    finally:
        with platform.instance() as instance:
            for key in (*MONTH, *OTHER_MONTH):
                instance.delete_dynamic_partition("scene", key)
