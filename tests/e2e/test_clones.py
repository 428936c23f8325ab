"""The smoke run in two clones gives the same bytes, wherever they lie."""

from pathlib import Path

import pytest

from tests.snakemake_runs import copy_checkout, results, snakemake

SMOKE = "tests/configs/smoke.yaml"


@pytest.mark.soak
def test_two_clones_make_the_same_results(tmp_path: Path):
    """As `make smoke` in each; the data set comes from the mirror or the package index."""
    runs = []
    for place in (tmp_path / "one", tmp_path / "another one" / "further down"):
        checkout = copy_checkout(place / "cdgm")
        done = snakemake(checkout, checkout / ".smoke", "all", "--cores", 2, overlay=SMOKE)
        assert done.code == 0, done.out + done.err
        runs.append({name: file.read_bytes() for name, file in results(checkout / ".smoke").items()})
    first, second = runs
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    tables = [name for name in first if name.startswith("tables/")]
    print(f"{len(first)} results are equal, {len(tables)} of them tables")
    assert tables
