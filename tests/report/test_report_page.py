import re
import struct
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest
from synthetic_evidence import decision, sheet
from synthetic_study import make_inputs, small_inputs

from distillscale.errors import InputError
from distillscale.report import Segment, TraceSample, empty_table, render_report
from distillscale.report.catalogue import PLANS
from distillscale.report.page import page
from distillscale.report.render import PAGE_NAME

EVIL = "</script><script>window.evil = 1</script><img src=x onerror='window.evil = 1'>"


LOADING = ("src", "href", "srcset", "data", "action")


class Tag(NamedTuple):
    name: str
    attributes: list[tuple[str, str]]


def tags_of(html: str) -> list[Tag]:
    """The elements that a browser would make; script texts are none."""
    parser, tags = HTMLParser(), []
    parser.handle_starttag = lambda name, attributes: tags.append(Tag(name, attributes))
    parser.feed(html)
    return tags


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", head[16:24])


@pytest.mark.slow
def test_the_folder_holds_the_page_and_each_figure_twice(report_page):
    pictures = {path.name for path in (report_page.parent / "figures").iterdir()}
    assert report_page.name == PAGE_NAME
    assert pictures == {f"{plan.name}.{end}" for plan in PLANS for end in ("png", "svg")}


@pytest.mark.slow
def test_pictures_have_twice_the_size_of_their_drawing(report_page):
    for svg in (report_page.parent / "figures").glob("*.svg"):
        width, height = map(
            float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg.read_text()).groups()
        )
        assert png_size(svg.with_suffix(".png")) == (
            pytest.approx(2 * width, abs=2), pytest.approx(2 * height, abs=2),
        )  # fmt: skip
        assert 500 < width < 1000
        assert svg.with_suffix(".png").stat().st_size > 20_000


@pytest.mark.slow
def test_the_page_is_one_file_of_moderate_size_that_loads_nothing(report_page):
    html = report_page.read_text()
    assert report_page.stat().st_size < 2_500_000
    sources = [value for tag in tags_of(html) for name, value in tag.attributes if name in LOADING]
    assert all(value.startswith("#") for value in sources), sources
    assert not re.search(r"@import|url\(", html.split("</style>")[0])
    assert "default-src 'none'" in html
    assert html.count("window.vegaEmbed") == 1


@pytest.mark.slow
def test_the_page_shows_every_part(report_page, report_inputs):
    html = report_page.read_text()
    for text in (*report_inputs.facts.values(), *report_inputs.notes, report_inputs.command):
        assert text in html
    for part in ("decision", "study", "dataset", "method", "quality", "knowledge", "stability",
                 "comparison", "laws", "recovery", "answers", "results", "reproduce"):  # fmt: skip
        assert f'id="{part}"' in html
        assert f'href="#{part}"' in html
    assert "left out" not in html
    assert html.count('<script type="application/json" id=') == len(PLANS)
    assert html.index('id="decision"') < html.index('id="study"') < html.index('id="dataset"')


def test_text_is_escaped_wherever_it_comes_from(tmp_path):
    inputs = make_inputs()
    trace = TraceSample("fin-headlines", "label", "none", EVIL, (Segment(EVIL, "answer"),), 0, 1, 1)
    evil = small_inputs(
        title=EVIL, facts={EVIL: EVIL}, notes=(EVIL,), command=EVIL, recommendation=EVIL,
        traces=(trace,), labels=inputs.labels.head(3).assign(label=EVIL, category=EVIL),
        embedding=inputs.embedding.head(5).assign(text=EVIL, label=EVIL, category=EVIL),
        laws=inputs.laws.head(3).assign(note=EVIL, law=EVIL, parameter=EVIL, configuration=EVIL),
        recovery=inputs.recovery.head(2).assign(metric=EVIL, configuration=EVIL),
        certificates=inputs.certificates.head(1).assign(law=EVIL, doubts=EVIL),
        contrasts=inputs.contrasts.assign(contrast=EVIL), sheets=(sheet(task=EVIL, text=EVIL),),
        decisions=(replace(decision(), rule=EVIL, sentence=EVIL, remarks=(EVIL,), command=EVIL,
                           study_file=EVIL),),
    )  # fmt: skip
    html = render_report(evil, tmp_path / "report").read_text()
    assert "window.evil" in html
    names = [tag.name for tag in tags_of(html)]
    assert "img" not in names
    assert names.count("script") == html.count("</script>") == 2 + 7 + 1  # code, figures, answers
    assert not any(name.startswith("on") for tag in tags_of(html) for name, _ in tag.attributes)


def test_the_decision_says_what_one_would_use_instead():
    said = replace(decision(), instead="tfidf is <as good> at lower cost.")
    with_it, without = (page(small_inputs(decisions=(d,)), [], {}) for d in (said, decision()))
    sentence = "<p><b>Instead:</b> tfidf is &lt;as good&gt; at lower cost.</p>"
    assert with_it.replace(f"\n{sentence}", "") == without
    assert with_it.index(said.sentence) < with_it.index(sentence) < with_it.index(said.command)


def test_what_is_left_out_is_explained_on_the_page(tmp_path):
    html = render_report(small_inputs(), tmp_path / "report").read_text()
    assert "is left out. No traces were given." in html
    assert "is left out. No kept ratio was run with more than one dataset size." in html
    assert "No law was fitted." in html
    assert "No decision" in html
    assert "No answers to single examples are stored." in html
    assert "No two configurations were compared." in html


def test_a_report_replaces_a_report_and_leaves_other_files_alone(tmp_path):
    (tmp_path / "results.parquet").write_text("mine")
    render_report(small_inputs(title="first"), tmp_path)
    (tmp_path / "figures" / "stale.png").write_bytes(b"")
    page = render_report(small_inputs(title="second"), tmp_path)
    assert "second" in page.read_text()
    assert not (tmp_path / "figures" / "stale.png").exists()
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.html", "figures", "results.parquet",
    }  # fmt: skip
    assert (tmp_path / "results.parquet").read_text() == "mine"


def test_figures_of_somebody_else_are_never_replaced(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "thesis.png").write_text("dear")
    with pytest.raises(InputError, match="name another folder"):
        render_report(small_inputs(), tmp_path)
    assert (tmp_path / "figures" / "thesis.png").read_text() == "dear"


def test_a_failure_leaves_the_old_report_whole(tmp_path, monkeypatch):
    page = render_report(small_inputs(title="first"), tmp_path)
    monkeypatch.setattr("distillscale.report.render.page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        render_report(small_inputs(title="second"), tmp_path)
    assert "first" in page.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "figures"}
    assert any((tmp_path / "figures").iterdir())


def test_empty_results_are_refused(tmp_path):
    with pytest.raises(InputError, match="no rows"):
        render_report(make_inputs(results=empty_table("results")), tmp_path / "report")


def test_report_needs_no_torch():
    code = "import sys, distillscale.report; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
