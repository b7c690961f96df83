"""The gallery's arithmetic against a plain loop over all items."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_sslprofiler.browser.gallery_layout import GalleryLayout, Group


def groups_of(sizes: list[int], titled: bool) -> tuple[Group, ...]:
    ends = np.cumsum(sizes).tolist()
    return tuple(
        Group(f"g{i}" if titled else "", end - size, end) for i, (size, end) in enumerate(zip(sizes, ends, strict=True))
    )


layouts = st.builds(
    lambda sizes, width, side, titled: GalleryLayout(
        sum(sizes), width, (side, side + 20), groups=groups_of(sizes, titled)
    ),
    st.lists(st.integers(1, 23), min_size=1, max_size=6),
    st.integers(60, 700),
    st.integers(40, 200),
    st.booleans(),
)


@given(layouts, st.integers(-50, 3000), st.integers(0, 900))
def test_items_in_sight_are_those_whose_boxes_are(layout: GalleryLayout, top: int, height: int) -> None:
    bottom = top + height
    boxes = [layout.box(i) for i in range(layout.count)]
    expected = {i for i, b in enumerate(boxes) if b.y <= bottom and b.y + b.height > top}
    found = set(layout.items_between(top, bottom))
    assert expected <= found
    # No more than a row too many at either end (the gap below a row counts as the row).
    assert len(found - expected) <= 2 * layout.columns


@given(layouts)
def test_items_lie_apart_and_inside(layout: GalleryLayout) -> None:
    boxes = [layout.box(i) for i in range(layout.count)]
    assert len({(b.x, b.y) for b in boxes}) == layout.count
    for a, b in itertools.pairwise(boxes):
        assert (b.y == a.y and b.x >= a.x + a.width) or b.y >= a.y + a.height
    assert max(b.y + b.height for b in boxes) <= layout.height
    for i, b in enumerate(boxes):
        assert layout.item_at(b.x + b.width // 2, b.y + b.height // 2) == i
        assert layout.item_at(b.x - 1, b.y + 1) != i


@given(layouts, st.integers(0, 600), st.integers(0, 900), st.integers(0, 400), st.integers(0, 400))
def test_a_rectangle_takes_what_it_touches(layout: GalleryLayout, x: int, y: int, w: int, h: int) -> None:
    boxes = [layout.box(i) for i in range(layout.count)]
    expected = [
        i for i, b in enumerate(boxes) if b.x <= x + w and b.x + b.width > x and b.y <= y + h and b.y + b.height > y
    ]
    assert layout.items_in(x, y, x + w, y + h).tolist() == expected


@given(layouts, st.integers(0, 3000), st.integers(1, 900))
def test_headings_in_sight(layout: GalleryLayout, top: int, height: int) -> None:
    found = layout.headings_between(top, top + height)
    for group, y in found:
        assert layout.box(group.start).y == y + layout.heading
    seen = {group.start for group, _ in found}
    for group in layout.groups:
        y = layout.box(group.start).y - layout.heading
        if group.title and y >= top and y <= top + height:
            assert group.start in seen


def test_a_million_items_are_laid_out_at_once() -> None:
    layout = GalleryLayout(1_000_000, 800, (112, 140))
    middle = layout.height // 2
    items = layout.items_between(middle, middle + 900)
    assert 0 < len(items) <= 9 * layout.columns
    assert layout.box(999_999).y < layout.height


def test_nothing_has_no_height() -> None:
    layout = GalleryLayout(0, 300, (100, 120))
    assert layout.height == 0
    assert list(layout.items_between(0, 500)) == []
    assert layout.item_at(5, 5) is None
