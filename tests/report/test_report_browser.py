"""The page in a real browser: figures drawn, tables work, nothing asked of the network."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from synthetic_evidence import sheet
from synthetic_study import embedding_points, label_counts, small_inputs

from distillscale.report import render_report
from distillscale.report.catalogue import PLANS

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip
ALL_DRAWN = """() => document.querySelectorAll('.chart[data-drawn]').length
    + document.querySelectorAll('.chart.failed').length
    === document.querySelectorAll('.chart').length"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed"),
]


@dataclass
class Opened:
    """The page with what it said and asked for while it loaded."""

    page: "playwright.Page"
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def chromium() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


def open_page(browser: "playwright.Browser", path: Path) -> Opened:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    seen = Opened(page)
    page.on("console", lambda message: seen.complaints.append(message.text))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_function(ALL_DRAWN, timeout=120_000)
    return seen


@pytest.fixture(scope="module")
def opened(chromium: "playwright.Browser", report_page: Path) -> Opened:
    return open_page(chromium, report_page)


@pytest.mark.parametrize("name", [plan.name for plan in PLANS])
def test_each_figure_has_drawn_marks(opened, name):
    chart = opened.page.locator(f"#figure-{name}")
    assert chart.get_attribute("data-drawn") == "yes"
    marks = chart.locator("svg.marks .role-mark path, svg.marks .role-mark text")
    assert marks.count() > 10
    box = chart.locator("svg.marks").bounding_box()
    assert box["width"] > 500
    assert box["height"] > 200


def test_no_complaint_and_no_request_but_the_page_itself(opened, report_page):
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith(("data:", "blob:"))] == [
        report_page.as_uri()
    ]


def test_the_page_does_not_scroll_sideways(opened):
    assert opened.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_hovering_a_text_of_the_embedding_shows_it(opened):
    opened.page.locator("#figure-embedding svg.marks .mark-symbol.role-mark path").first.hover(
        force=True
    )
    tip = opened.page.locator("#vg-tooltip-element")
    tip.wait_for(state="visible", timeout=10_000)
    assert "Halvorsen Energy" in tip.inner_text()


def test_the_results_can_be_filtered_and_sorted(opened):
    section = opened.page.locator(".table", has=opened.page.locator("input"))
    rows = section.locator("tbody tr:visible")
    everything = rows.count()
    section.locator("input").fill("logit-cot decayed")
    assert 0 < rows.count() == 6 < everything
    section.locator("input").fill("")
    section.get_by_role("button", name="macro F1").click()
    assert section.locator("th[aria-sort=ascending]").inner_text() == "macro F1"
    column = section.locator("thead th").all_inner_texts().index("macro F1")
    cells = section.locator(f"tbody tr td:nth-child({column + 1})").all_inner_texts()
    assert [float(text) for text in cells] == sorted(float(text) for text in cells)


def test_text_from_the_data_never_runs(chromium, tmp_path):
    attack = "</script><script>window.evil = 1</script><img src=x onerror='window.evil = 1'>"
    table = embedding_points(copies=1).assign(text=attack, label=attack, category=attack)
    page_path = render_report(
        small_inputs(
            title=attack,
            embedding=table,
            labels=label_counts().assign(label=attack),
            sheets=(sheet(text=attack),),
        ),
        tmp_path / "report",
    )
    seen = open_page(chromium, page_path)
    seen.page.locator("#figure-embedding svg.marks .mark-symbol.role-mark path").first.hover(
        force=True
    )
    seen.page.locator("#vg-tooltip-element").wait_for(state="visible", timeout=10_000)
    assert attack in seen.page.locator("#vg-tooltip-element").inner_text()
    example = seen.page.locator("details.example").first
    example.locator("summary").click()
    assert attack in example.locator("summary").inner_text()
    assert seen.page.evaluate("window.evil") is None
    assert seen.complaints == []


def test_an_example_opens_to_the_reasoning_and_every_answer(opened):
    section = opened.page.locator(".answers")
    first = section.locator("details.example").first
    assert first.locator("table").count() == 0
    first.locator("summary").click()
    assert "Teacher: it is about" in first.locator(".thought").inner_text()
    rows = first.locator("tr")
    assert rows.count() == 3
    assert rows.nth(1).inner_text().startswith("logit-cot, 16% kept")
    assert "✗" in rows.nth(1).inner_text()
    first.locator("summary").click()


def test_examples_can_be_filtered_by_label_and_text(opened):
    section = opened.page.locator(".answers")
    shown = section.locator("details.example:visible")
    everything = shown.count()
    section.locator("select").select_option("merger")
    assert 0 < shown.count() < everything
    assert all("merger" in text for text in shown.locator("summary").all_inner_texts())
    section.locator("input").fill("no such headline")
    assert shown.count() == 0
    section.locator("input").fill("")
    section.locator("select").select_option("")
    assert shown.count() == everything == 40
