"""The documentation site: it builds without a warning, reaches every page, and asks no other host for anything."""

import re
import tomllib
from pathlib import Path

import pytest
from tools import site

from docs import pages
from docs.pages import ROOT

NAV = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
ONE_OF_A_LIST = {path for path in pages.PAGES if re.match(r"\d{4}-", path.name)}
"""Pages that another page lists."""


def leaves(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    assert isinstance(nav, dict | list)
    return [leaf for each in (nav.values() if isinstance(nav, dict) else nav) for leaf in leaves(each)]


def test_every_page_is_in_the_navigation() -> None:
    reached = {ROOT / leaf for leaf in leaves(NAV)}

    assert set(pages.PAGES) - ONE_OF_A_LIST <= reached
    assert all(path.exists() for path in reached)


def test_every_decision_is_in_their_list() -> None:
    listed = re.findall(r"\]\((\d{4}-[^)]+)\)", (ROOT / "docs" / "decisions" / "index.md").read_text())

    assert sorted(listed) == sorted(path.name for path in ONE_OF_A_LIST)


@pytest.mark.system
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere() -> None:
    with pytest.raises(SystemExit) as ended:
        site.main()

    built = ROOT / "build" / "site"
    loads = re.compile(r"<(?:script|img|link|iframe)[^>]+(?:src|href)=[\"']?https?://(?!www\.example)")
    assert ended.value.code == 0
    assert {path.stem for path in (built / "docs").glob("*.html")} >= {"on-one-machine", "install", "comparison"}
    assert [str(page) for page in built.rglob("*.html") if loads.search(page.read_text())] == []


def test_what_is_collected_is_there() -> None:
    assert all(any(ROOT.glob(pattern)) for pattern in site.COLLECTED), Path.cwd()
