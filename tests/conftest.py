"""One finished run of the tests' smallest study, shared by all test modules."""

import fcntl
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.snakemake_runs import TINY, copy_checkout, snakemake

# Generated inputs: some, always the same, in `make test`; `--hypothesis-profile many` in `make soak`.
_COMMON = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "phases": (Phase.explicit, Phase.generate, Phase.shrink),
}
settings.register_profile("some", max_examples=40, derandomize=True, **_COMMON)
settings.register_profile("many", max_examples=2_000, print_blob=True, **_COMMON)
settings.load_profile("some")

#: The local download beside the study.
RAW = "results/downloads/mine/raw"


@dataclass(frozen=True)
class Finished:
    """A checkout whose tiny study also has a download, and its finished results; both to be read only.

    ``data`` is the file that is downloaded, ``loaded`` a folder where each job noted the modules that it ran
    with, and ``said`` the output of the run.
    """

    checkout: Path
    run: Path
    data: Path
    loaded: Path
    said: str


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run for all processes of the test suite: the first that asks makes it, and others wait."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder /= "finished"
    folder.mkdir(exist_ok=True)
    made = Finished(*(folder / name for name in ("checkout", "run", "mine.bin", "loaded")), said="")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "said").exists():
            (folder / "said").write_text(_run(made), encoding="utf-8")
    said = (folder / "said").read_text(encoding="utf-8")
    return Finished(made.checkout, made.run, made.data, made.loaded, said)


def _run(place: Finished) -> str:
    copy_checkout(place.checkout)
    place.data.write_bytes(b"cells")
    entry = {"kind": "local", "path": str(place.data), "filename": "mine.bin"}
    entry["sha256"] = hashlib.sha256(place.data.read_bytes()).hexdigest()
    text = ", ".join(f"{key}: {value}" for key, value in entry.items())
    with (place.checkout / TINY).open("a", encoding="utf-8") as file:
        file.write(f"downloads: {{mine: {{{text}}}}}\n")
    place.loaded.mkdir()
    noting = Path(__file__).parent / "workflow/loaded"
    environment = {
        "CDGM_TEST_LOADED": str(place.loaded),
        "PYTHONPATH": os.pathsep.join(map(str, (place.checkout, noting))),
    }
    done = snakemake(place.checkout, place.run, "all", RAW, "--cores", 2, environment=environment)
    assert done.code == 0, done.out + done.err
    return done.out + done.err
