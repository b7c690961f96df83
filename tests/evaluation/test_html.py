from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from sslprofiler_core.errors import UserError
from sslprofiler_core.evaluation.html import Report, Tile


class Balanced(HTMLParser):
    """Fails on tags that are not closed in order, and collects what a browser would fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img", "link"}:
            self.open.append(tag)
        self.sources += [value or "" for name, value in attributes if name in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def small_figure() -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    return figure


def test_a_page_holds_everything_and_fetches_nothing(tmp_path: Path) -> None:
    report = Report("Plates & wells", "four <plates>").heading("One").paragraph("run `x < y` at 5 %")
    report.notice(["first", "second"]).tiles([Tile("Accuracy", "50 %", "of `all`"), Tile("n", "7", muted=True)])
    report.code("sslprofiler demo").figure(small_figure(), "read it so")
    with report.row():
        report.figure(small_figure(), "left", image="png").figure(small_figure(), "right", alt="a line")
    page = report.write(tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    parsed = Balanced(page)
    assert len(parsed.sources) == 3 and all(source.startswith("data:image/") for source in parsed.sources)
    assert not re.search(r"https?://|@import|<script|url\(", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page))
    assert "<h1>Plates &amp; wells</h1>" in page and "four &lt;plates&gt;" in page
    assert "<code>x &lt; y</code> at 5\N{NO-BREAK SPACE}%" in page
    assert 'alt="a line"' in page and 'alt="left"' in page


def test_tables_put_numbers_to_the_right() -> None:
    frame = pd.DataFrame({"name": ["a<b", None], "share": [0.5, float("nan")], "n": [3, 4]})
    page = Report("t").table(frame, "how to read it", formats={"share": "{:.1%}"}, strong=[1]).html()
    Balanced(page)
    assert '<td>a&lt;b</td><td class="number">50.0%</td><td class="number">3</td>' in page
    assert '<tr class="strong"><td>–</td><td class="number">–</td>' in page
    assert page.count('<th class="number">') == 2 and "how to read it" in page


def test_equal_figures_are_equal_bytes() -> None:
    pages = [re.search(r"base64,([^\"]+)", Report("t").figure(small_figure(), "").html()) for _ in range(2)]
    assert pages[0] and pages[1] and pages[0][1] == pages[1][1]


def test_an_unwritable_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write"):
        Report("t").write(tmp_path / "file" / "report.html")
