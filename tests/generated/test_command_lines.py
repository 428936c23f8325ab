"""Generated command lines: right results, or one line, and no file of the user is touched."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdgm.cli.main import main
from tests.generated.promise import HANGS_SECONDS, check_line, command, disk, examples
from tests.unit import small_cells

ROWS = 24
FIT = {
    "--background": "a", "--variant": "cvae", "--n-background": "1", "--n-salient": "1", "--members": "1",
    "--max-steps": "2", "--map": "pca", "--out": "new",
}  # fmt: skip
OF_CELLS = {"--background": "ctrl", "--source-key": "condition"}
PATHS = [
    "new", "empty", "empty/new", "ours", "ours/model", "mine", "mine/thesis.docx", "link", "dangling",
    "loop", ".",
    "..", "/", "~", "", " ", "-", "new/a/b", "unreadable", "unwritable", "unwritable/new", "pipe", "a" * 300,
    "ü\n\x1b[2J", "new\x1b", "ok.npz", "ok.npz/x", "cells.h5ad", "cut.npz", "cut.h5ad", "text.npz",
    "text.h5ad",
    "gone.npz", "gone.h5ad", "folder.npz", "folder.h5ad", "link.npz", "empty.npz", "nan.npz", "object.npz",
    "v.json", "bad.json", "list.json", "ours/latents.csv", "ours/model/spec.json", "\udcff", "{x}",
]  # fmt: skip
WORDS = [
    "", "0", "1", "2", "-1", "1.5", "1e300", "1e-300", "nan", "inf", "-inf", "9" * 30, "9" * 5000, "0x10",
    "1_0",
    "a", "b", "a b", "all", "ctrl", "drug", "condition", "state", "cvae", "mo-cvae", "cave", "gaussian",
    "poisson",
    "bernoulli", "negative_binomial", "pca", "umap", "cpu", "cuda", "auto", "--", "-x", "--out", "ü", "\n",
    "v.json",
    "bad.json", "list.json", "gone.json", "\udcff", "x" * 3000, "held_out", "train", "immune_spikein",
    "list", "get",
]  # fmt: skip
#: Options of each command, with values that suit.
OPTIONS: dict[str, dict[str, list[str] | None]] = {
    "fit": {
        "--background": ["a", "b", "ctrl"], "--variant": ["cvae", "mo-cvae", "v.json", "bad.json"],
        "--n-background": ["1", "2"], "--n-salient": ["1", "2"], "--members": ["1", "2"],
        "--max-steps": ["1", "3"],
        "--max-epochs": ["0.5", "1"], "--batch-size": ["2", "8"], "--learning-rate": ["0.01", "1"],
        "--likelihood": ["gaussian", "poisson"], "--n-genes": ["2", "all"], "--held-out": ["0.1", "0.5"],
        "--seed": ["0", "7"], "--device": ["cpu", "auto"], "--map": ["pca"], "--source-key": ["condition"],
        "--labels-key": ["state"], "--layer": ["counts"], "--batch-key": ["state"], "--patience": ["2"],
        "--early-stopping": None, "--no-early-stopping": None, "--overwrite": None, "--out": ["new", "ours"],
        "--help-me": None, "--var": ["cvae"],
    },
    "choose": {"--background": ["a"], "--members": ["2"], "--levels": ["1", "10"], "--of": ["hsic",
    "mmd_shared"],
               "--variant": ["hsic-cvae", "cvae"], "--out": ["new", "ours"], "--overwrite": None},
    "evaluate": {"--labels-key": ["state"], "--split": ["held_out", "train", "all"], "--out": ["new", "ours"],
                 "--overwrite": None},
    "plot": {"--data": ["cells.h5ad", "ok.npz"], "--colour": ["state"], "--map": ["pca"], "--out": ["new",
    "ours"],
             "--overwrite": None},
    "claims": {"--results": ["results", "mine"], "--claim": ["c", "d"]},
    "datasets": {"--out": ["new.h5ad", "ours"]},
}  # fmt: skip
POSITIONS = {
    "fit": ["ok.npz", "ok.npz", "cells.h5ad"], "choose": ["ok.npz"], "evaluate": ["ok.npz"], "plot": ["ours"],
    "claims": [], "datasets": ["list"],
}  # fmt: skip


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of all kinds, those of a user and those of cdgm; never written to."""
    root = tmp_path_factory.mktemp("usual") / "here"
    root.mkdir()
    rng = np.random.default_rng(0)
    good = {source: rng.standard_normal((ROWS, 3)) for source in "ab"}
    np.savez(root / "ok.npz", **good)
    np.savez(root / "nan.npz", a=good["a"], b=good["b"] * np.nan)
    np.savez(root / "object.npz", a=good["a"].astype(object), b=good["b"])
    np.savez(root / "empty.npz")
    cells = small_cells.cells(small_cells.counts(cells=40, genes=6).astype(np.float32))
    cells.layers["counts"] = cells.X.copy()
    cells.write_h5ad(root / "cells.h5ad")
    for name in ("ok.npz", "cells.h5ad"):
        content = (root / name).read_bytes()
        (root / f"cut.{name.split('.')[1]}").write_bytes(content[: len(content) // 2])
    for name in ("text.npz", "text.h5ad"):
        (root / name).write_text("no data")
    for name in ("folder.npz", "folder.h5ad", "empty", "unwritable"):
        (root / name).mkdir()
    (root / "mine" / "raw").mkdir(parents=True)
    (root / "mine" / "thesis.docx").write_text("years")
    (root / "mine" / "raw" / "lane1.fastq").write_text("reads")
    for name, target in {"link": "mine", "dangling": "later", "loop": "loop", "link.npz": "ok.npz"}.items():
        (root / name).symlink_to(target)
    (root / "v.json").write_text(json.dumps({"combiner": {"kind": "sum"}}))
    (root / "bad.json").write_text(json.dumps({"combiner": {"kind": "sum"}, "penaltis": []}))
    (root / "list.json").write_text("[1]")
    (root / "results").mkdir()
    (root / "results" / "claims.csv").write_text("claim\nc\n")
    words = [word for option in (FIT | {"--out": str(root / "ours")}).items() for word in option]
    main(["fit", str(root / "ok.npz"), *words])
    # Last: names and times in it are then of this run.
    os.mkfifo(root / "pipe")
    (root / "unreadable").write_text("secret")
    (root / "unreadable").chmod(0)
    (root / "unwritable").chmod(0o500)
    return root


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """Words of a command: one that works, with one or two changes."""
    name = draw(st.sampled_from(["fit", "fit", "fit", "evaluate", "plot", "choose", "claims", "datasets"]))
    options: dict[str, list[str]] = {}
    if name == "fit":
        options = {option: [value] for option, value in FIT.items()}
    elif name == "choose":
        options = {
            o: [FIT[o]] for o in ("--background", "--max-steps", "--n-background", "--n-salient", "--out")
        }
        options["--members"] = ["2"]
    elif name == "plot":
        options = {"--out": ["new"], "--map": ["pca"]}
    position = draw(st.sampled_from(POSITIONS[name] or [None]))
    if position == "cells.h5ad":
        options |= {option: [value] for option, value in OF_CELLS.items()}
    positions = [] if position is None else [position]
    if name == "evaluate":
        positions = ["ours", *positions]
    elif name == "choose":
        positions = [draw(st.sampled_from(["dims", "level"])), *positions]
    for _ in range(draw(st.integers(1, 2))):
        match draw(st.integers(0, 9)):
            case 0 if positions:
                positions[draw(st.integers(0, len(positions) - 1))] = draw(st.sampled_from(PATHS))
            case 1 if options.keys() - {"--max-steps"}:
                # Without a number of steps a fit takes its usual time.
                options.pop(draw(st.sampled_from(sorted(options.keys() - {"--max-steps"}))), None)
            case 2:
                positions.append(draw(st.sampled_from(WORDS + PATHS)))
            case 3:
                options["--out"] = [draw(st.sampled_from(PATHS))]
            case 4:
                options |= {"--out": [draw(st.sampled_from(PATHS))], "--overwrite": []}
            case 5 | 6:
                option = draw(st.sampled_from(sorted(OPTIONS[name])))
                values = OPTIONS[name][option]
                if option == "--max-epochs":
                    options.pop("--max-steps", None)
                options[option] = [] if values is None else [draw(st.sampled_from(values))]
            case _:
                option = draw(st.sampled_from(sorted(OPTIONS[name])))
                options[option] = draw(st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=2))
    return [name, *positions, *(word for option, values in options.items() for word in (option, *values))]


def copied(usual: Path) -> Path:
    """A fresh copy of the folder."""
    here = usual.with_name("copy") / "here"
    if here.parent.exists():
        # What a command may have written has usual permissions; what is copied may not.
        (here / "unwritable").chmod(0o700)
        shutil.rmtree(here.parent)
    here.parent.mkdir()
    subprocess.run(["cp", "-a", usual, here], check=True)
    return here


def check(usual: Path, words: list[str], run) -> None:
    """The promise for a command line."""
    here = copied(usual)
    root = here.parent
    before = disk(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setenv("HOME", str(root))
        code, out, _ = run(words)
    after = disk(root)
    changed = {path for path in before if after.get(path) != before[path]}
    new = {path for path in after if path not in before}
    if code:
        assert (changed, new) == (set(), set()), (changed, new)
        return
    if "--help" in words or "-h" in words:
        return
    written = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "--out"]
    if not written:
        assert (changed, new) == (set(), set())
        assert out
        return
    place = os.path.realpath(here / written[-1])
    for path in changed | new:
        assert (root / path).is_relative_to(place) or (root / path) in Path(place).parents, path
    # Only what cdgm wrote is replaced, and then as a whole.
    assert not changed or ("--overwrite" in words and place == str(here / "ours"))
    assert not [path for path in after if ".part" in path or ".old" in path]
    if words[0] == "fit":
        check_fit(Path(place))


def check_fit(place: Path) -> None:
    """Results have a row a row of the data, and finite latents."""
    latents = pd.read_csv(place / "latents.csv")
    assert len(latents) in (2 * ROWS, 40)
    assert np.isfinite(latents.filter(regex=r"_\d+$").to_numpy()).all()
    names = set(json.loads((place / ".cdgm.json").read_text())["files"])
    assert names | {".cdgm.json"} == {p for p, kind in disk(place).items() if kind != "folder"}


@examples(0.5)
@given(lines())
def test_a_command_line_is_one_line_or_writes_just_its_results(usual, words):
    check(usual, words, lambda words: command(lambda: main(words)))


@examples(0.05)
@given(lines())
def test_a_process_of_its_own_ends_in_the_same_way(usual, words):
    if any("\0" in word or "\udcff" in word for word in words):
        return

    # Matplotlib keeps its cache of fonts there, and otherwise in the home folder.
    own = {"PYTHONPATH": str(Path(__file__).parents[2]), "MPLCONFIGDIR": matplotlib.get_cachedir()}

    def run(words: list[str]) -> tuple[int, str, list[str]]:
        done = subprocess.run(
            [sys.executable, "-m", "cdgm", *words], capture_output=True, text=True,
            timeout=10 * HANGS_SECONDS, env=os.environ | own, check=False,
        )  # fmt: skip
        lines = done.stderr.splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        assert "Traceback" not in done.stderr, done.stderr
        if done.returncode:
            assert (done.returncode, len(errors)) == (2, 1), done.stderr
            assert lines[-1] == errors[0]
            check_line(errors[0])
        else:
            assert errors == []
        return done.returncode, done.stdout, errors

    check(usual, words, run)
