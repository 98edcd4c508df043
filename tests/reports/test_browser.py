"""The page in a real browser: sorting, search, keyboard, phone, dark mode, no requests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait as Wait
from synthetic_records import ALGOS, grid, record, write_sweep

from reports import plots
from reports.build import build
from reports.records import read_sweeps

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)",
    ),
]
DESKTOP, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def url(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with names that hold markup; of the drawings a few, for drawing takes long."""
    evil = '"><img src=x onerror="window.injected=1"></script><script>window.injected=1</script>'
    out = write_sweep(
        tmp_path_factory.mktemp("evil"),
        [*read_sweeps([sweep]).records, record(evil, model=evil, health=evil, n_hidden=64),
         record("bptt", n_hidden=7, status="crashed", reason=evil)],
        question=evil,
    )  # fmt: skip
    make_all = plots.make_all
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "make_all", lambda *asked: (make_all(*asked)[0][:4], []))
        return build([out]).page.resolve().as_uri()


@pytest.fixture
def page(driver: Any, url: str) -> Any:
    visit(driver, url, *DESKTOP)
    driver.execute_script("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    return driver


def visit(driver: Any, url: str, width: int, height: int, scheme: str = "light") -> None:
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    driver.get_log("browser")
    driver.get_log("performance")
    driver.get(url)


def column(page: Any, name: str) -> list[str]:
    script = """
      const heads = [...document.querySelectorAll('.results th')].map(h => h.dataset.column);
      const i = heads.indexOf(arguments[0]);
      return [...document.querySelectorAll('.results tbody tr')].map(r => r.cells[i].textContent);
    """
    found: list[str] = page.execute_script(script, name)
    return found


def header(page: Any, name: str) -> Any:
    return page.find_element(By.CSS_SELECTOR, f".results th[data-column={name}] button")


def numbers(values: list[str]) -> list[float]:
    return [float(v) for v in values if v != "–"]


def shown(page: Any) -> str:
    return str(page.find_element(By.CSS_SELECTOR, ".shown").text)


def test_the_first_screen_answers_the_question(page: Any) -> None:
    lead = page.find_element(By.CSS_SELECTOR, "#answer .lead")
    figures = page.find_elements(By.CSS_SELECTOR, "#answer figure")
    table = page.find_element(By.CSS_SELECTOR, "#answer table")
    assert "start with " in lead.text
    assert lead.location["y"] < 500
    assert len(figures) >= 2
    assert figures[0].location["y"] == figures[1].location["y"] < DESKTOP[1]
    assert figures[1].location["y"] < table.location["y"]
    assert table.text.count("\n") > 3


def test_sorting_both_ways_with_empty_values_last(page: Any) -> None:
    header(page, "step_time_ms").click()
    values = column(page, "step_time_ms")
    assert len(values) == 100
    assert numbers(values) == sorted(numbers(values))
    head = page.find_element(By.CSS_SELECTOR, "th[data-column=step_time_ms]")
    assert head.get_attribute("aria-sort") == "ascending"
    header(page, "step_time_ms").click()
    values = column(page, "step_time_ms")
    assert numbers(values) == sorted(numbers(values), reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    while page.find_element(By.CSS_SELECTOR, ".more").is_displayed():
        page.find_element(By.CSS_SELECTOR, ".more").click()
    assert column(page, "step_time_ms")[-1] == "–"


def test_text_columns_sort_too(page: Any) -> None:
    header(page, "status").click()
    values = column(page, "status")
    assert values == sorted(values)


def test_searching_any_text_and_columns(page: Any) -> None:
    total = int(shown(page).split()[0])
    box = page.find_element(By.NAME, "search")
    box.send_keys("exhausted 4096")
    assert column(page, "status") == ["oom"]
    assert "RESOURCE_EXHAUSTED" in column(page, "reason")[0]
    box.clear()
    box.send_keys("variant=bptt batching=manual n_hidden=128")
    assert set(column(page, "variant")) == {"bptt"}
    assert set(column(page, "batching")) == {"manual"}
    assert set(column(page, "n_hidden")) == {"128"}
    assert shown(page).endswith(f"of {total} cells")
    page.find_element(By.CSS_SELECTOR, "button[type=reset]").click()
    Wait(page, 5).until(lambda d: shown(d) == f"{total} cells")


def test_the_whole_page_works_from_the_keyboard(page: Any) -> None:
    body = page.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert page.switch_to.active_element.text == "Skip to the answer"
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.current_url.endswith("#answer")
    reached = {"a"}  # the link that was just followed
    keys = ActionChains(page)
    active = "const a = document.activeElement; return [a.tagName.toLowerCase(), a.innerText]"
    for _ in range(80):
        tag, text = page.execute_script(active)
        reached.add(tag)
        if tag == "button" and "step time" in text:
            keys.send_keys(Keys.ENTER).perform()
            break
        keys.send_keys(Keys.TAB).perform()
    head = page.find_element(By.CSS_SELECTOR, "th[data-column=step_time_ms]")
    assert head.get_attribute("aria-sort") == "ascending"
    assert {"a", "summary", "input", "button"} <= reached
    outline = page.execute_script(
        "return getComputedStyle(document.activeElement).outlineStyle")  # fmt: skip
    assert outline == "solid"


def test_a_drawing_is_enlarged_by_a_click_and_from_the_keyboard(page: Any) -> None:
    large = page.find_element(By.CSS_SELECTOR, "dialog.large")
    small = page.find_element(By.CSS_SELECTOR, "figure .drawing")
    assert not large.is_displayed()
    small.click()
    assert large.is_displayed()
    assert large.find_element(By.TAG_NAME, "svg").size["width"] > 1.5 * small.size["width"]
    large.send_keys(Keys.ESCAPE)
    assert not large.is_displayed()
    page.find_element(By.CSS_SELECTOR, "figure .enlarge").send_keys(Keys.ENTER)
    assert large.is_displayed()


def test_values_show_when_the_pointer_rests_on_a_point(page: Any) -> None:
    tips = page.find_elements(By.CSS_SELECTOR, "#answer figure svg .tip title")
    assert len(tips) > 5
    assert all(tip.get_attribute("textContent") for tip in tips)


def test_the_first_columns_stay_when_a_table_is_scrolled(driver: Any, url: str) -> None:
    visit(driver, url, *PHONE)
    left = driver.execute_script("""
      const box = document.querySelector('#answer .scroll'), cell = box.querySelector('tbody td');
      box.scrollLeft = 80;
      const left = (e) => e.getBoundingClientRect().left;
      return [box.scrollLeft, left(cell) - left(box)];""")
    assert left == [80, 0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_tables_but_never_the_page(driver: Any, url: str, scheme: str) -> None:
    visit(driver, url, *PHONE, scheme)
    width = driver.execute_script("return document.documentElement.scrollWidth")
    wide = driver.execute_script("""
      return [...document.querySelectorAll('body *')]
        .filter(e => !e.closest('.scroll, svg, dialog, .skip'))
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.outerHTML.slice(0, 90))
    """)
    assert (width <= PHONE[0], wide) == (True, [])
    sizes = driver.execute_script(
        "return [...document.querySelectorAll('p, li, td, th, summary')]"
        ".filter(e => e.offsetParent).map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert len(sizes) > 60
    assert min(sizes) >= 11
    labels = driver.execute_script(
        "return [...document.querySelectorAll('figure svg text')]"
        ".map(t => t.getBoundingClientRect().height).filter(h => h > 0)")  # fmt: skip
    assert len(labels) > 20
    assert min(labels) >= 8


def test_a_phone_shows_numbers_beside_long_names(
    driver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "make_all", lambda *_: ([], []))
    records = [record("d_rtrl", b, backend=k, algo_config={"mode": m, "chunk": 10})
               for b in ("manual", "vmap") for k in ("core", "braintrace")
               for m in ("multi_step", "single_step")]  # fmt: skip
    visit(driver, build([write_sweep(tmp_path, records)]).page.resolve().as_uri(), *PHONE)
    cells = driver.execute_script(
        "return [...document.querySelectorAll('#answer tbody tr')]"
        ".map(r => r.cells[2].getBoundingClientRect().right)")  # fmt: skip
    assert len(cells) == 8
    assert max(cells) <= PHONE[0]
    head = driver.find_element(By.CSS_SELECTOR, "#answer thead")
    assert head.size["height"] < 70


def test_a_wide_screen_shows_verdicts_beside_long_names(
    driver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a stream on a busy machine: every way has the longest name and the widest figures."""
    monkeypatch.setattr(plots, "make_all", lambda *_: ([], []))
    turns = {"time_vs_bptt": 1.17, "time_vs_bptt_low": 1.12, "time_vs_bptt_high": 1.23}
    records = [record(algo, seed=i, noise=0.3, metrics={**turns, "contended": 1.0})
               for algo in ("d_rtrl", "es_d_rtrl", "immediate") for i in range(2)]  # fmt: skip
    for nth, built in enumerate(records):
        built["config"]["update_every"] = 1
        built["metrics"]["time_vs_bptt"] += 0.01 * nth
        built["metrics"]["test_accuracy"] = 0.503 + 0.011 * nth
    page = build([write_sweep(tmp_path, records)]).page
    assert "immediate (updated every step)" in page.read_text(encoding="utf-8")
    visit(driver, page.resolve().as_uri(), *DESKTOP)
    room, needed = driver.execute_script("""
      const box = document.querySelector('#answer .scroll');
      return [box.clientWidth, box.scrollWidth];""")
    assert needed <= room


def test_a_phone_shows_that_a_table_goes_on(driver: Any, url: str) -> None:
    visit(driver, url, *PHONE)
    boxes = driver.execute_script("""
      return [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)
        .map(e => [getComputedStyle(e).backgroundAttachment, e.tabIndex])""")
    assert len(boxes) >= 1
    assert {(shade.count("local"), focus) for shade, focus in boxes} == {(2, 0)}


def contrast(a: list[float], b: list[float]) -> float:
    def luminance(colour: list[float]) -> float:
        parts = [c / 255 for c in colour[:3]]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_drawings_follow_the_colour_scheme(driver: Any, url: str, scheme: str) -> None:
    visit(driver, url, *DESKTOP, scheme)
    script = """
      const rgb = (s) => s.match(/[\\d.]+/g).map(Number);
      const paper = rgb(getComputedStyle(document.body).backgroundColor);
      const found = {};
      for (const [name, selector, property] of [
          ['body', 'body', 'color'], ['eyebrow', '.eyebrow', 'color'], ['cell', 'td', 'color'],
          ['head', 'th', 'color'], ['link', '.note a', 'color'], ['caption', 'figcaption', 'color'],
          ['failed', 'tr.failed td', 'color'], ['holds', '.holds', 'color'],
          ['fails', '.does-not-hold', 'color'], ['drawing', 'figure svg text', 'fill']])
        found[name] = rgb(getComputedStyle(document.querySelector(selector))[property]);
      return [paper, found];
    """
    paper, found = driver.execute_script(script)
    assert (sum(paper[:3]) < 150) == (scheme == "dark")
    assert len(found) == 10
    for name, colour in found.items():
        assert contrast(colour, paper) >= 4.5, name  # the threshold of WCAG 2 for text


def test_lines_of_drawings_stand_out_in_both_schemes(driver: Any, url: str) -> None:
    for scheme in ("light", "dark"):
        visit(driver, url, *DESKTOP, scheme)
        paper, strokes = driver.execute_script("""
          const rgb = (s) => s.match(/[\\d.]+/g).map(Number);
          return [rgb(getComputedStyle(document.body).backgroundColor),
            [...document.querySelectorAll('figure svg g[id^=line2d] path, figure svg path')]
            .map(p => getComputedStyle(p)).filter(s => parseFloat(s.strokeWidth) >= 1.3)
            .map(s => rgb(s.stroke)).filter(c => c.length >= 3)]""")
        assert len(strokes) > 5
        for stroke in strokes:
            assert contrast(stroke, paper) >= 2


def test_silence_no_errors_no_requests_no_injection(driver: Any, url: str) -> None:
    visit(driver, url, *DESKTOP)
    page = driver
    page.find_element(By.CSS_SELECTOR, "#cells > summary").click()
    header(page, "step_time_ms").click()
    page.find_element(By.NAME, "search").send_keys("bptt")
    assert page.get_log("browser") == []
    requests = [
        message["params"]["request"]["url"]
        for entry in page.get_log("performance")
        for message in [json.loads(entry["message"])["message"]]
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert [r for r in requests if not r.startswith("data:")] == [url]
    assert page.execute_script("return window.injected") is None
    assert page.find_elements(By.TAG_NAME, "img") == []
    assert "<img src=x" in page.find_element(By.TAG_NAME, "h1").text


def test_claims_lead_to_their_rows(page: Any) -> None:
    claim = page.find_element(By.CSS_SELECTOR, "[id^=claim-d-rtrl-exact]")
    assert "does not hold" in claim.text
    key = claim.find_element(By.CSS_SELECTOR, ".keys").text.split(", ")[0]
    page.find_element(By.NAME, "search").send_keys(key)
    assert column(page, "key") == [key]


def test_the_page_of_the_quick_sweep_is_short(
    driver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = grid(algo=ALGOS, batching=["manual", "vmap"], n_hidden=[64, 128])
    for built in records:
        built["provenance"]["load_before"] = 9.0  # a busy machine has the longer page
    visit(driver, build([write_sweep(tmp_path, records)]).page.resolve().as_uri(), *DESKTOP)
    assert driver.execute_script("return document.documentElement.scrollHeight") < 3500
