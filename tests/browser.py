"""Pages in headless Chromium, for tests; they are skipped where it is absent."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
CONTRAST = """
const channel = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
const paint = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const rgba = (colour) => {
  paint.clearRect(0, 0, 1, 1); paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
};
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const behind = (element) => {
  const layers = [];
  for (let e = element; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
  return layers.reverse().reduce((below, [r, g, b, a]) => {
    return [r, g, b].map((v, i) => a * v + (1 - a) * below[i]);
  }, [255, 255, 255]);
};
let least = [99, ""];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walk.nextNode(); node; node = walk.nextNode()) {
  const element = node.parentElement;
  if (!node.textContent.trim() || ["style", "script"].includes(element.tagName.toLowerCase())) continue;
  const style = getComputedStyle(element);
  const own = light(rgba(element instanceof SVGElement ? style.fill : style.color)), ground = light(behind(element));
  const ratio = (Math.max(own, ground) + 0.05) / (Math.min(own, ground) + 0.05);
  if (ratio < least[0]) least = [ratio, node.textContent.trim().slice(0, 40)];
}
return least;
"""


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A browser with a fresh ``profile``."""
    binary, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs chromium and chromedriver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (requirements-dev.txt)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield made
    finally:
        made.quit()


def show(browser: Any, page: Path, *, width: int, theme: str) -> None:
    """Open ``page`` in a window of ``width`` pixels of a machine that prefers ``theme``."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(page.as_uri())


def least_contrast(browser: Any) -> tuple[float, str]:
    """The lowest contrast of any text with what is behind it, as WCAG 2 computes it, and that text."""
    ratio, text = browser.execute_script(CONTRAST)
    return float(ratio), str(text)


def sound(browser: Any) -> None:
    """Nothing on the console, every picture loaded, nothing wider than the window, no address that leads elsewhere."""
    assert browser.get_log("browser") == []
    broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert browser.execute_script(broken) == 0
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(wide) == 0
    assert (
        browser.execute_script(
            "return performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:'))"
        )
        == []
    )
