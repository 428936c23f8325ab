"""A run shows one line a job, the time left, and each failure with its log.

That Snakemake logs these events is shown by real runs (tests/e2e).
"""

import io
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from cdgm.workflow.run_progress import RunDisplay, follow_run


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def record(event: str | None, level: int = logging.INFO, message: str = "", **fields) -> logging.LogRecord:
    made = logging.LogRecord("snakemake", level, "", 0, message, (), None)
    made.__dict__.update(fields, event=event)
    return made


class Run:
    """A run of 2 simulations and 4 fits, told to a display."""

    def __init__(self, stream: io.StringIO | None = None, **options):
        self.clock = Clock()
        self.out = stream if stream is not None else io.StringIO()
        self.display = RunDisplay(self.out, clock=self.clock, **options)
        self.display.emit(record("run_info", stats={"simulate": 2, "fit": 4, "all": 1, "total": 7}))

    def start(self, job: int, rule: str, name: str, log: str | None = None):
        logs = [f"results/logs/{rule}/{name}.log" if log is None else log] if log != "" else []
        self.display.emit(record("job_info", jobid=job, rule_name=rule, wildcards={rule: name}, log=logs))

    def finish(self, job: int):
        self.display.emit(record("job_finished", job_id=job))

    def fail(self, job: int, said: str | None = None, rule: str = "fit", name: str = "a"):
        log = [f"results/logs/{rule}/{name}.log"]
        failed = record("job_error", logging.ERROR, jobid=job, rule_name=rule, rule_msg=said, log=log)
        self.display.emit(failed)

    def end(self) -> list[str]:
        stream = io.StringIO()
        self.display.end(stream)
        return stream.getvalue().splitlines()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logs = tmp_path / "results/logs/fit"
    logs.mkdir(parents=True)
    (logs / "b.log").write_text("step 1\nerror: bad data\n")
    return tmp_path


def test_each_finished_job_is_a_line_with_the_time_left():
    run = Run()
    run.start(1, "simulate", "x-12")
    run.clock.now = 5
    run.finish(1)
    run.start(2, "fit", "x-34")
    run.clock.now = 103
    run.finish(2)
    lines = run.out.getvalue().splitlines()
    # Twice as slow as is typical: 5 + 4 x 56 s are left; then three fits of (98 + 82) / 2 s as means.
    assert lines[0] == "[1/7, 0:05, ~4 min left] simulate x-12 5 s"
    assert lines[1].startswith("[2/7, 1:43, ~")
    assert lines[1].endswith(" min left] fit x-34 98 s")
    assert run.display.seconds_left() == pytest.approx(3 * 94 + 7, rel=0.1)


def test_snakemake_s_own_lines_are_left_out_while_jobs_run():
    run = Run()
    shown = run.display.shows
    for event in ("job_info", "job_finished", "progress", "shellcmd", None):
        assert not shown(record(event))
    told = "RuleException:\nCalledProcessError in file rules/fit.smk: ..."
    assert not shown(record("job_error", logging.ERROR))
    assert not shown(record("error", logging.ERROR, told))
    assert not shown(record("error", logging.ERROR, "At least one job did not complete successfully."))
    # What says something else is not swallowed.
    assert shown(record("error", logging.ERROR, "MissingOutputException in rule fit"))
    assert shown(record(None, logging.WARNING, "disk is slow"))
    assert shown(record("run_info"))
    assert RunDisplay(io.StringIO()).shows(record(None, message="Building DAG of jobs..."))


def test_the_end_names_each_failed_job_with_its_log_and_reason():
    run = Run()
    advice = "SLURM-job '3' failed, SLURM status is: 'FAILED'. For further error details see the log."
    run.fail(4, advice)
    run.fail(5, name="b")
    run.fail(6, name="c")
    assert run.end() == [
        "3 jobs failed; finished results are kept, and the same command continues:",
        "  fit: results/logs/fit/a.log: SLURM-job '3' failed, SLURM status is: 'FAILED'",
        "  fit: results/logs/fit/b.log: error: bad data",
        "  fit: results/logs/fit/c.log: no message; it was stopped from outside",
    ]
    assert run.out.getvalue().count("FAILED fit") == 3


def test_a_job_that_succeeds_at_a_later_attempt_has_not_failed():
    run = Run()
    run.start(4, "fit", "b")
    run.fail(4, name="b")
    run.start(4, "fit", "b")
    run.fail(4, name="b")
    assert len(run.display.failed) == 1
    run.start(4, "fit", "b")
    run.finish(4)
    assert run.end() == ["1 of 7 jobs done in 0:00."]


def test_ctrl_c_is_one_line():
    run = Run()
    run.start(1, "fit", "d")
    Path("results/logs/fit/d.log").write_text("step 1\nerror: interrupted\n")
    run.fail(1, name="d")
    run.display.emit(
        record(None, message="Terminating processes on user request, this might take some time.")
    )
    assert run.end() == ["Interrupted: finished results are kept, and the same command continues."]
    assert run.out.getvalue() == ""
    # Another failed before, and one was stopped before it could write anything.
    run.fail(2, name="b")
    run.fail(3, name="c")
    assert run.end()[1:] == [
        "1 job failed; finished results are kept, and the same command continues:",
        "  fit: results/logs/fit/b.log: error: bad data",
    ]


def test_a_terminal_gets_a_bar_and_only_failures_as_lines():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    run = Run(Terminal(), bar=True)
    run.start(1, "fit", "a")
    run.clock.now = 28
    run.finish(1)
    run.start(2, "fit", "b")
    run.fail(2, name="b")
    task = run.display.bar.tasks[0]
    assert (task.fields["jobs"], task.fields["running"]) == ("1/7 jobs", "")
    assert task.fields["left"].endswith(" left")
    assert 0.15 < task.completed < 0.35
    run.end()
    assert "FAILED fit: results/logs/fit/b.log: error: bad data" in run.out.getvalue().replace("\n", "")


@pytest.mark.parametrize("asked", ["quiet", "verbose", "printshellcmds", "plug-in"])
def test_output_that_was_asked_for_stays(asked):
    display, logger = follow(asked, stream=asked != "plug-in")
    assert display.stream is None
    assert display in logger.handlers
    assert all(not handler.filters for handler in logger.handlers)


def test_a_dry_run_shows_the_beginning_of_long_lists():
    _, logger = follow("dryrun")
    files = [f"results/fits/{i}/model.npz" for i in range(100)]
    shown = record("job_info", reason=f"Input files updated: {', '.join(files)}", input=files)
    assert all(handler.filter(shown) for handler in logger.handlers)
    assert shown.input == [*files[:4], "... and 96 more"]
    assert len(shown.reason) <= 300
    assert shown.reason.endswith(" ...")


def follow(asked: str, stream: bool = True) -> tuple[RunDisplay, logging.Logger]:
    """A display that follows a logger as Snakemake sets it up, with one of its options."""
    logger = logging.Logger("run")
    if stream:
        handler = logging.StreamHandler(io.StringIO())
        handler.name = "DefaultStreamHandler"
        logger.addHandler(handler)
    flags = dict.fromkeys(("dryrun", "quiet", "verbose", "printshellcmds"), False)
    return follow_run(logger, SimpleNamespace(**flags | {asked: True})), logger
