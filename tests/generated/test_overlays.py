"""Generated overlays: each is refused in one line, or is in the plan with the very values that it has."""

import copy
import math
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from cdgm.claims.check_selectors import check_claims
from cdgm.config.layers import load_layers, merge
from cdgm.config.study import Config, parse_config
from cdgm.workflow.plan import Plan, dump, expand
from tests.generated.promise import examples, kept
from tests.snakemake_runs import ROOT

KEPT_STUDIES = ("identifiability", "misspecification", "perturbation", "multi_source")

# Values that fit almost nowhere: other types, sizes, and forms that YAML 1.1 and 1.2 read in two ways.
ODD = st.sampled_from(
    [
        None, True, False, 0, 1, -1, 2, 3.0, 0.5, -0.0, 1e300, 1e-300, 10**12, 10**30, 10**400, 2**63, 2**64,
        math.inf, -math.inf, math.nan, "", " ", "1", "1e3", "true", "null", "cvae", "linear", "kind", "all",
        "x" * 300, "ü", "\u202e", "a\nb", "\x1b[2J", "../x", "{a}", "$HOME", "~", [], {}, [None], [[]], [{}],
        {"kind": "linear"}, {"kind": []}, {"kind": {}}, {"kind": None}, {"": 1}, {"a": {"b": {}}},
        [1, 1], [1, 1.0], ["a", "a"], [1, "1"], list(range(50)), {"background": 3}, {"background": 10**9},
    ]
)  # fmt: skip
ANY = ODD | st.integers() | st.floats() | st.text(max_size=6) | st.lists(ODD, max_size=3)
NAMES = st.sampled_from(
    ["kind", "weight", "steps", "background", "salient", "", "0", "float64", "root_seed", "a b", "ü",
    "x" * 80]
) | st.text("abz_-.@/", min_size=1, max_size=3)  # fmt: skip
# Text in the form of a file, with the words that YAML has a meaning for.
SCALARS = st.sampled_from(
    [
        "1:30", "010", "0x1F", "0b1", "1_000", "yes", "no", "on", "off", "~", ".inf", "-.INF", ".nan", "1e3",
        "1.", ".5", "+1", "2024-01-29", "2024-01-29 10:00:00", "!!python/object/apply:os.system ['x']",
        "!!int 3", "!!float 3", "!!str 3", "!!set {a}", "!!binary aGk=", "!!omap [a: 1]", "!x y", "&a 1",
        "*a",
        "<<", "=", "'x", '"', "{", "[", "]", "- a", "a: b", "? a", "%x", "@a", "`a`", "|", ">", "\t", "\0",
        "\ufeff1", "\x85", "{<<: {a: 1}}", "&a [*a]", "{a: 1, a: 2}", "{1: 2}", "{null: 1}", "{[1]: 2}",
        "9" * 30, "9" * 5000, "1e999", "0.1e-400", "--- 1", "...",
    ]
)  # fmt: skip


@cache
def base() -> tuple[Path, dict[str, Any]]:
    """The project's config with few studies, as a file and as values."""
    values = load_layers([ROOT / "config.yaml", ROOT / "claims.yaml"])
    values["studies"] = {name: values["studies"][name] for name in KEPT_STUDIES}
    values["claims"] = {
        name: claim for name, claim in values["claims"].items() if claim["study"] in KEPT_STUDIES
    }
    file = Path(tempfile.mkdtemp()) / "config.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return file, load_layers([file])


def planned(files: list[Path]) -> tuple[Config, Plan]:
    """As the Snakefile does it."""
    config = parse_config(load_layers(files), files)
    plan = expand(config, files)
    check_claims(config, files)
    return config, plan


@st.composite
def paths(draw: st.DrawFn) -> tuple[str | int, ...]:
    """The path of a key of the config, of any depth."""
    node, path = base()[1], ()
    while isinstance(node, dict | list) and node and (not path or draw(st.integers(0, 5))):
        part = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        node, path = node[part], (*path, part)
    return path


def at(values: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        values = values[part]
    return values


def nested(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """An overlay that sets one key; a list is set as a whole."""
    lists = [i for i, part in enumerate(path) if isinstance(part, int)]
    if lists:
        end = lists[0]
        whole = copy.deepcopy(at(base()[1], path[:end]))
        holder = at(whole, path[end:-1])
        holder[path[-1]] = value
        path, value = path[:end], whole
    for part in reversed(path):
        value = {part: value}
    return value


@st.composite
def overlays(draw: st.DrawFn) -> dict[str, Any]:
    """One to three mutations: other values, keys that are added, renamed or taken away, other branches."""
    overlay: dict[str, Any] = {}
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        path = draw(paths())
        old = at(base()[1], path)
        match draw(st.integers(0, 6)):
            case 0:
                new = nested(path, draw(ANY))
            case 1 | 2 if isinstance(old, bool | int | float):
                new = nested(path, draw(st.integers(-3, 200) | st.floats(0, 100)))
            case 1 | 2 if isinstance(old, list):
                new = nested(path, draw(st.lists(st.sampled_from(old), max_size=3)) if old else [1])
            case 3:
                parent = path if isinstance(old, dict) else ()
                new = nested((*parent, draw(NAMES)), draw(ANY))
            case 4:
                # A branch of another place.
                new = nested(path, at(base()[1], draw(paths())))
            case _ if isinstance(old, dict) and old:
                gone = draw(st.sampled_from(sorted(old)))
                rest = {k: v for k, v in old.items() if k != gone}
                # With a kind it replaces; without one, the key that is renamed is one more.
                new = nested(path, rest | {draw(NAMES): old[gone]})
            case _:
                new = nested(path, old)
        overlay = merge(overlay, new)
    return overlay


def same(found: Any, given: Any) -> bool:
    """Whether a value of the config is the one that was written."""
    if isinstance(given, dict):
        return isinstance(found, dict) and all(k in found and same(found[k], v) for k, v in given.items())
    if isinstance(given, list):
        return (isinstance(found, list) and len(found) == len(given) and all(map(same, found, given))) or (
            len(given) == 1 and same(found, given[0])
        )
    return (type(found) is type(given) and found == given) or (
        not isinstance(found, bool) and isinstance(found, int | float)
        and not isinstance(given, bool) and isinstance(given, int | float) and found == given
    )  # fmt: skip


def check(text: str) -> tuple[str | None, Config | None]:
    """The promise for an overlay; its line if it is refused."""
    file = base()[0]
    overlay = file.with_name("overlay.yaml")
    # Surrogates are no text: a file can hold them as bytes alone.
    overlay.write_bytes(text.encode("utf-8", "surrogatepass"))
    files = [file, overlay]
    found, line = kept(lambda: planned(files))
    if line is not None:
        assert line.startswith((f"{overlay}", f"{file}")), line
        return line, None
    config, plan = found
    for name, study in config.studies.items():
        points = math.prod(map(len, study.sweep.values()))
        seeds = range(study.seeds.first, study.seeds.first + study.seeds.count)
        fits = {plan.evaluations[row.evaluation].fit for row in plan.studies[name]}
        rows = {(row.setting, row.variant) for row in plan.studies[name]}
        assert len(rows) == len(study.settings) * points * len(study.variants)
        assert {seed for fit in fits for seed in plan.fits[fit].spec.seeds} == set(seeds)
        assert sum(len(plan.fits[plan.evaluations[row.evaluation].fit].spec.seeds)
                   for row in plan.studies[name]) == len(rows) * len(seeds)  # fmt: skip
    return None, config


@examples(1.5)
@given(overlays())
def test_an_overlay_is_refused_in_one_line_or_is_what_runs(overlay: dict):
    _, config = check(yaml.safe_dump(overlay, allow_unicode=True))
    if config is None:
        return
    whole = merge(base()[1], overlay)
    found = config.model_dump(mode="json")
    for group in ("root_seed", "designs", "variants", "protocols", "studies", "datasets", "downloads"):
        assert same(found[group], whole[group]), (group, overlay)


@examples(0.75)
@given(paths(), SCALARS | st.text(max_size=12))
def test_text_in_a_file_is_read_in_one_way_or_refused(path: tuple, scalar: str):
    keys = [part for part in path if isinstance(part, str)]
    text = "".join(f"{'  ' * i}{key}:\n" for i, key in enumerate(keys[:-1]))
    check(f"{text}{'  ' * (len(keys) - 1)}{keys[-1]}: {scalar}\n")


@examples(0.25)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_refused_in_one_line(content: bytes):
    file = base()[0]
    overlay = file.with_name("bytes.yaml")
    overlay.write_bytes(content)
    _, line = kept(lambda: planned([file, overlay]))
    assert line is None or line.startswith(str(overlay)), line


def test_a_config_without_an_overlay_is_as_it_is_written():
    """The oracle of these tests accepts what is right."""
    file, values = base()
    config, _ = planned([file])
    assert same(dump(config)["variants"], values["variants"])
