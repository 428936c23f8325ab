"""What jobs cost, summed over the records of each rule."""

from __future__ import annotations

import csv
from pathlib import Path

from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from cdgm.workflow.plan import expand
from cdgm.workflow.timings import COLUMNS, write_timings

ROOT = Path(__file__).parents[2]
HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def test_records_are_summed_by_rule(tmp_path):
    config = parse_config(load_layers([ROOT / "config.yaml"], {}))
    plan = expand(config)
    fits = sorted(plan.fits)[:3]
    records = {
        f"fit/{fits[0]}": (10.5, 300.0, 9.0),
        f"fit/{fits[1]}": (20.0, 400.0, 19.0),
        # Too short to be measured.
        f"fit/{fits[2]}": (0.5, "NA", "NA"),
        # Of an earlier configuration.
        "fit/other-00000000": (1000.0, 1.0, 1.0),
        "draw/identifiability-recovery": (3.0, 150.0, 2.5),
        "judge/claims": (1.0, "-", "-"),
    }
    for name, (wall, memory, cpu) in records.items():
        file = tmp_path / f"{name}.tsv"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{HEADER}{wall}\t0:00:01\t{memory}\t1\t1\t1\t1\t1\t1\t{cpu}\n", encoding="utf-8")
    write_timings(tmp_path / "timings.csv", config, plan, tmp_path)
    with (tmp_path / "timings.csv").open(encoding="utf-8") as handle:
        found = list(csv.DictReader(handle))
    assert tuple(found[0]) == COLUMNS
    assert [list(row.values()) for row in found] == [
        ["fit", "3", "31.0", "28.0", "400.0"],
        ["draw", "1", "3.0", "2.5", "150.0"],
        ["judge", "1", "1.0", "", ""],
    ]
