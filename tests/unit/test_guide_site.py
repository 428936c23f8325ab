"""The guide builds as a site without a warning, loads nothing from a network, and holds the reference."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import cdgm
from tests.guide import DOCS, PAGES

LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}
pytestmark = pytest.mark.slow  # The build takes half a minute.

#: Packages of which the reference holds every public function and class.
WHOLE = ("cdgm.evaluation.metrics", "cdgm.objectives", "cdgm.models", "cdgm.simulation")


class Page(HTMLParser):
    """What a built page links to, loads, and can be linked to by."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if "id" in values:
            self.ids.add(values["id"])
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if values.get(LOADED.get(tag, "")):
            self.loads.append(values[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built once, with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--fail-on-warning", "--keep-going", "-d", str(folder / "doctrees")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(DOCS), str(folder / "html")],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {file: Page(file) for file in sorted(site.rglob("*.html"))}


def test_every_page_is_built_and_reached(site, pages):
    start = pages[site / "index.html"]
    reached = {link.partition("#")[0] for link in start.links}
    for page in PAGES:
        built = page.relative_to(DOCS).with_suffix(".html")
        assert (site / built).is_file()
        # Pages of the reference hang below their own.
        assert built.as_posix() in reached or built.name == "index.html"


def test_links_of_the_site_lead_somewhere(pages):
    for file, page in pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = unquote(link).partition("#")
            target = (file.parent / path).resolve() if path else file
            assert target.is_file(), f"{file.name}: {link}"
            if anchor and target in pages:
                assert anchor in pages[target].ids, f"{file.name}: {link}"


def test_nothing_is_loaded_from_a_network(site, pages):
    for file, page in pages.items():
        for link in page.loads:
            assert not re.match(r"([a-z]+:)?//", link), f"{file.name} loads {link}"
            assert link.startswith(("data:", "#")) or (file.parent / link.partition("?")[0]).is_file()
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet


def test_the_public_names_are_in_the_reference(pages):
    ids = set().union(*(page.ids for page in pages.values()))
    assert {f"cdgm.{name}" for name in cdgm.__all__} <= ids
    methods = {name for name in dir(cdgm.ComparativeModel) if not name.startswith("_")}
    documented = {name for name in methods if f"cdgm.ComparativeModel.{name}" in ids}
    assert {name for name in methods if callable(getattr(cdgm.ComparativeModel, name))} <= documented
    assert {"ensemble", "history", "is_trained"} <= documented
    assert "cdgm.estimator.selection.dimensions.Dimensions" in ids


@pytest.mark.parametrize("package", WHOLE)
def test_what_researchers_import_is_in_the_reference(package, pages):
    ids = set().union(*(page.ids for page in pages.values()))
    root = importlib.import_module(package)
    missing = []
    for found in pkgutil.walk_packages(root.__path__, f"{package}."):
        if found.ispkg or found.name.rpartition(".")[2].startswith("_"):
            continue
        module = importlib.import_module(found.name)
        for name, value in vars(module).items():
            own = (
                inspect.isclass(value) or inspect.isfunction(value)
            ) and value.__module__ == module.__name__
            if own and not name.startswith("_") and f"{found.name}.{name}" not in ids:
                missing.append(f"{found.name}.{name}")
    assert missing == []


def test_formulas_are_drawn_by_the_browser(site, pages):
    theory = (site / "theory.html").read_text(encoding="utf-8")
    assert theory.count("<math") > 80
    # A formula that is not recognised keeps its dollars.
    assert "$" not in re.sub(r"<script.*?</script>", "", theory, flags=re.DOTALL)
    assert all("mathjax" not in load.lower() for page in pages.values() for load in page.loads)


def test_code_can_be_copied(site, pages):
    assert any("copybutton" in load for load in pages[site / "install.html"].loads)
