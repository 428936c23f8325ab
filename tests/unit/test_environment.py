"""Promises about the environment: versions in step, imports declared, nothing tied to one machine."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_SPECS = sorted((ROOT / "envs").glob("*.yaml"))
# conda packages that are named otherwise than on the Python index
CONDA_NAMES = {"pytorch": "torch", "pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}


def locked() -> dict[str, Version]:
    """Exact versions of the lock, by canonical name."""
    versions = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            versions[canonicalize_name(name)] = Version(version)
    return versions


def requirements(*extras: str) -> list[Requirement]:
    lines = list(PROJECT["dependencies"])
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def tracked_files() -> list[Path]:
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.decode().split("\0") if name]


def imported_names(path: Path) -> set[str]:
    """Top-level names that a file imports anywhere, its own package left out."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_the_lock_is_exact_and_portable():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(pins) > 50
    for pin in pins:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", pin), pin
    assert len(locked()) == len(pins), "a package is pinned twice"


def test_every_locked_version_runs_on_the_oldest_python():
    """Systems hold on to the first releases of a Python: Debian 12 has 3.11.2."""
    (oldest,) = (part.version for part in SpecifierSet(PROJECT["requires-python"]))
    refusing = [
        f"{package.name} {package.version} needs Python {needed}"
        for package in distributions()
        if canonicalize_name(package.name) in locked()
        and (needed := package.metadata["Requires-Python"])
        and not SpecifierSet(needed).contains(f"{oldest}.0")
    ]
    assert refusing == []


def test_declared_ranges_admit_the_locked_versions():
    versions = locked()
    for requirement in requirements("workflow", "test", "dev", "docs", "slurm"):
        name = canonicalize_name(requirement.name)
        assert name in versions, f"{name} is declared, but not in requirements.lock"
        assert versions[name] in requirement.specifier, f"{requirement} does not admit {versions[name]}"


def test_makefile_pins_are_the_locked_ones():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pins = re.search(r"^LOCK_PINS := (.*)$", makefile, re.MULTILINE).group(1).split()
    for pin in pins:
        name, version = pin.split("==")
        assert locked()[name] == Version(version), f"{pin} in Makefile, {locked()[name]} in requirements.lock"


@pytest.mark.parametrize("spec", CONDA_SPECS, ids=lambda path: path.name)
def test_conda_versions_equal_the_lock(spec: Path):
    versions = locked()
    entries = yaml.safe_load(spec.read_text(encoding="utf-8"))["dependencies"]
    pip_entries = [line for entry in entries if isinstance(entry, dict) for line in entry["pip"]]
    pins = [line.split("==") for line in pip_entries]
    pins += [entry.split("=") for entry in entries if isinstance(entry, str) and "=" in entry]
    assert pins
    for name, version in pins:
        name = canonicalize_name(CONDA_NAMES.get(name, name))
        if name != "python":
            assert versions[name] == Version(version), (
                f"{spec.name}: {name}={version}, lock: {versions[name]}"
            )


def test_conda_spec_holds_all_that_jobs_import():
    entries = yaml.safe_load((ROOT / "envs" / "cdgm.yaml").read_text(encoding="utf-8"))["dependencies"]
    lines = [line for entry in entries for line in (entry["pip"] if isinstance(entry, dict) else [entry])]
    held = {canonicalize_name(re.split("=+", line)[0]) for line in lines}
    needed = {canonicalize_name(requirement.name) for requirement in requirements()} - {"snakemake"}
    assert needed <= held


def test_the_executor_of_the_slurm_profile_is_locked():
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))
    plugin = f"snakemake-executor-plugin-{profile['executor']}"
    assert plugin in {requirement.name for requirement in requirements("slurm")}
    # Its jobs run a second plug-in, which brings another half of the protocol.
    assert {plugin, f"{plugin}-jobstep"} <= locked().keys()
    assert f" {plugin}==" in (ROOT / "Makefile").read_text(encoding="utf-8"), "LOCK_PINS does not hold it"


def test_conda_jobs_need_neither_snakemake_nor_its_plug_ins():
    # The workflow runs outside of the jobs' environment, so its plug-ins can't be out of step there.
    text = (ROOT / "envs/cdgm.yaml").read_text(encoding="utf-8")
    assert not re.search(r"^ *- snakemake", text, re.MULTILINE)


def test_the_container_is_in_step_with_the_lock():
    text = (ROOT / "envs/Dockerfile").read_text(encoding="utf-8")
    steps = re.findall(r"^([A-Z]+) (.*)$", text.replace("\\\n", " "), re.MULTILINE)
    conda = yaml.safe_load((ROOT / "envs/cdgm.yaml").read_text(encoding="utf-8"))["dependencies"]
    python = next(entry.partition("=")[2] for entry in conda if str(entry).startswith("python="))
    assert steps[0] == ("FROM", f"python:{python}-slim")
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert f"resolved on CPython {python} " in lock
    installs = [step for step in steps if step[0] == "RUN" and " pip install " in step[1]]
    assert installs[0][1].endswith(" -r requirements.lock")
    # Nothing that is not in the lock: the only other install is of this package, alone.
    assert len(installs) == 2
    assert installs[1][1].endswith(" --no-deps --no-build-isolation --editable .")
    # Before the sources are copied, so that an edit of them does not install everything anew.
    assert steps.index(("COPY", "requirements.lock ./")) < steps.index(installs[0])
    assert steps.index(installs[0]) < steps.index(("COPY", ". ."))
    users = [value for name, value in steps if name == "USER"]
    assert users[-1] not in ("root", "0")
    assert [name for name, _ in steps].index("USER") > steps.index(installs[1])
    name, words = steps[-1]
    assert (name, json.loads(words)[0]) == ("CMD", "snakemake")


def test_images_and_commits_leave_out_the_same_files():
    ignored = {
        name: {line.strip("/") for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if line}
        for name in (".gitignore", ".dockerignore")
    }
    kept_out = {line.removeprefix("**/") for line in ignored[".dockerignore"] if not line.startswith("#")}
    assert {line for line in ignored[".gitignore"] if not line.startswith("#")} == kept_out


def declared(*extras: str) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements(*extras)}


def foreign_imports(*folders: str) -> dict[str, set[str]]:
    """Distributions that the files of some folders import, each with the files that do."""
    own = {"cdgm", "workflow_scripts", "tests", "benchmarks", "docs"} | set(sys.stdlib_module_names)
    own |= {path.stem for folder in ("benchmarks", "docs") for path in (ROOT / folder).rglob("*.py")}
    providers = packages_distributions()
    found: dict[str, set[str]] = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for name in imported_names(path) - own:
                # An optional peer need not be installed here: its distribution goes by its name.
                for provider in providers.get(name) or {"scvi": ["scvi-tools"]}.get(name, [name]):
                    found.setdefault(canonicalize_name(provider), set()).add(str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize(
    ("folders", "extras"),
    [
        (("cdgm", "workflow_scripts"), ("workflow", "peers")),
        (("tests", "benchmarks", "docs"), ("workflow", "test", "dev", "docs", "peers")),
    ],
)
def test_every_import_is_declared(folders: tuple[str, ...], extras: tuple[str, ...]):
    known = declared(*extras) | {"lightning", "pillow"}  # which scvi-tools and matplotlib bring and build on
    undeclared = {name: files for name, files in foreign_imports(*folders).items() if name not in known}
    assert undeclared == {}


#: Run as commands or loaded by other programs: a build, a plug-in, a theme, a checker. No file imports them.
COMMANDS_AND_PLUGINS = {
    "basedpyright",
    "build",
    "furo",
    "myst-parser",
    "pandas-stubs",
    "pre-commit",
    "pytest-xdist",
    "ruff",
    "setuptools",
    "snakefmt",
    "snakemake-executor-plugin-slurm",
    "snakemake-logger-plugin-rich",
    "sphinx",
    "sphinx-copybutton",
    "types-pyyaml",
    "types-requests",
}


def test_every_dependency_is_imported():
    imported = foreign_imports("cdgm", "workflow_scripts").keys()
    # Rule files import Snakemake and are no Python files; pandas writes parquet by pyarrow.
    loaded = {"snakemake", "pyarrow"}
    assert declared("workflow") - declared() - imported <= loaded
    core = foreign_imports("cdgm").keys()
    assert declared() <= core, f"declared, but not imported by the package: {sorted(declared() - core)}"
    everywhere = foreign_imports("cdgm", "workflow_scripts", "tests", "benchmarks", "docs").keys()
    extras = PROJECT["optional-dependencies"].keys() - {"workflow"}
    unused = declared(*extras) - declared() - everywhere - COMMANDS_AND_PLUGINS
    assert unused == set()


def test_nothing_is_tied_to_one_machine():
    # Written in pieces, so that this file does not find itself.
    hosts = ["py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs", "deb." + "debian.org"]
    options = ["--extra-index" + "-url", "--find" + "-links", "file" + "://"]
    places = r"(?<![\w.~)}\]-])/(?:" + "|".join(["work", "root", "home", "Users", "opt"]) + r")/\w"
    forbidden = re.compile("|".join([*map(re.escape, hosts + options), places]))
    for path in tracked_files():
        if not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found = forbidden.search(text)
        assert found is None, f"{path.relative_to(ROOT)} names {found.group()!r}"


def test_importing_the_package_is_cheap():
    heavy = ["torch", "scanpy", "anndata", "sklearn", "scipy", "seaborn", "matplotlib", "pandas", "snakemake"]
    code = f"import cdgm, sys; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_planning_a_run_is_cheap():
    """Every call of snakemake plans all studies: what a job needs is imported by the job."""
    code = (
        "import sys; from pathlib import Path; from cdgm.config.layers import load_layers;"
        "from cdgm.config.study import parse_config; from cdgm.workflow.plan import expand;"
        "files = [Path(f) for f in ('config.yaml', 'claims.yaml')];"
        "expand(parse_config(load_layers(files), files), files);"
        "print([name for name in ('torch', 'scipy', 'pandas', 'sklearn', 'scanpy') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_version_is_the_project_s():
    import cdgm

    assert cdgm.__version__ == PROJECT["version"]


def test_version_is_known_without_an_install(monkeypatch: pytest.MonkeyPatch):
    from importlib import metadata

    import cdgm

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert cdgm._version() == PROJECT["version"]


def test_public_table_is_complete():
    import cdgm

    for name in cdgm.__all__:
        assert getattr(cdgm, name) is not None
    assert set(cdgm.__all__) <= set(dir(cdgm))
    with pytest.raises(AttributeError, match="no_such_name"):
        cdgm.no_such_name  # noqa: B018


def test_documents_name_only_make_targets_that_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)) == targets, "a target lacks its help"
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        text = path.read_text("utf-8")
        # Fenced blocks first: their backticks would pair up with those of the prose.
        fences = re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)
        for fence in fences:
            text = text.replace(fence, "")
        # What a command printed may say "make sure".
        typed = [fence for fence in fences if not fence.startswith("```text")]
        code = " ".join([*typed, *re.findall(r"`[^`]+`", text)])
        named = set(re.findall(r"\bmake ([a-z-]+)", code))
        assert named <= targets, f"{path.name} names make targets that do not exist: {named - targets}"


def test_the_peers_lock_adds_to_the_lock():
    text = (ROOT / "requirements-peers.lock").read_text(encoding="utf-8")
    pins = [line for line in text.splitlines() if not line.startswith("#")]
    versions = {}
    for pin in pins:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", pin), pin
        name, version = pin.split("==")
        versions[canonicalize_name(name)] = Version(version)
    assert not versions.keys() & locked().keys(), "a package is pinned in both locks"
    for requirement in map(Requirement, PROJECT["optional-dependencies"]["peers"]):
        assert versions[canonicalize_name(requirement.name)] in requirement.specifier
