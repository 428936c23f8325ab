"""Display of a run of the workflow: a bar on a terminal, lines in a log, and failures at the end.

Snakemake's own log, with inputs, outputs and reasons of every job, stays whole in ``.snakemake/log``.
"""

from __future__ import annotations

import logging
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

#: Seconds of a job in the full workflow: how to weigh rules of which no job has finished yet.
TYPICAL_SECONDS = {"fit": 26.0, "evaluate": 6.0, "ceiling": 27.0, "map_cells": 13.0, "preprocess": 6.0}
OTHERWISE_SECONDS = 2.5
#: Snakemake's last words on a failed run; :meth:`RunDisplay.end` says more.
SAID_OTHERWISE = ("At least one job did not complete", "Exiting because a job execution failed")

#: Last words of a job that Ctrl-C stopped.
STOPPED = ("error: interrupted", "KeyboardInterrupt")

#: What a dry run shows of a job: characters of its reason, and inputs.
LONGEST_REASON = 300
MOST_INPUTS = 5


@dataclass
class Job:
    """A job that was started: its rule, its name within the rule, its log file, and when it began."""

    rule: str
    name: str
    log: str
    began: float

    def __str__(self) -> str:
        return f"{self.rule} {self.name}".strip()


class RunDisplay(logging.Handler):
    """Handler of Snakemake's logger that follows the jobs of a run.

    Parameters
    ----------
    stream
        Where lines go; None shows nothing before :meth:`end`.
    bar
        Show a bar with the time left in place of a line a job.
    clock
        Seconds that pass.
    """

    def __init__(
        self, stream: TextIO | None, *, bar: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self.stream = stream
        self.bar: Any = _bar(stream) if stream is not None and bar else None
        self.clock = clock
        self.begun: float | None = None
        self.remaining: Counter[str] = Counter()
        self.total = self.finished = 0
        self.running: dict[int, Job] = {}
        self.failed: dict[int, str] = {}
        self.seconds: dict[str, list[float]] = {}
        self.interrupted = False

    def emit(self, record: logging.LogRecord) -> None:
        """Follow one event; Snakemake handles other kinds of records."""
        try:
            follow = getattr(self, f"_{getattr(record, 'event', None) or 'message'}", None)
            if follow is not None:
                follow(record)
        except Exception:
            self.handleError(record)

    def shows(self, record: logging.LogRecord) -> bool:
        """Filter Snakemake's own stream: while jobs run, it shows only unusual messages."""
        if self.stream is None or self.begun is None:
            return True
        event = str(getattr(record, "event", None) or "")
        if event == "run_info":
            return True
        of_a_job = event in ("job_error", "group_error") or (
            event == "error" and "CalledProcessError" in record.getMessage()
        )
        return record.levelno >= logging.WARNING and not (of_a_job or _contains(record, SAID_OTHERWISE))

    def _run_info(self, record: Any) -> None:
        self.remaining = Counter({rule: count for rule, count in record.stats.items() if rule != "total"})
        self.total, self.begun = record.stats["total"], self.clock()
        if self.bar is not None:
            self.bar.start()
        self._refresh()

    def _job_info(self, record: Any) -> None:
        name = ", ".join(dict(record.wildcards).values())
        log = record.log[0] if record.log else ""
        self.running[record.jobid] = Job(record.rule_name, name, log, self.clock())
        self._refresh()

    def _job_finished(self, record: Any) -> None:
        self.failed.pop(record.job_id, None)
        if (job := self.running.pop(record.job_id, None)) is None:
            return
        took = self.clock() - job.began
        self.seconds.setdefault(job.rule, []).append(took)
        self.remaining[job.rule] -= 1
        self.finished += 1
        # Targets that only gather others do no work and have no log.
        if job.log:
            self._tell(f"{job} {took:.0f} s")

    def _job_error(self, record: Any) -> None:
        # The first sentence of a cluster's message is enough; advice follows it.
        said = str(record.rule_msg or "no message; it was stopped from outside").split(". ")[0]
        log = str(record.log[0]) if record.log else ""
        path = Path(log)
        if log and path.is_file() and (lines := path.read_text(errors="replace").strip().splitlines()):
            said = lines[-1]
        job = self.running.pop(record.jobid, None) or Job(record.rule_name, "", log, self.clock())
        if said in STOPPED:
            self.interrupted = True
            return
        self.failed[record.jobid] = f"{job.rule}: {log}: {said}" if log else f"{job}: {said}"
        self._tell(f"FAILED {self.failed[record.jobid]}", always=True)

    def _message(self, record: logging.LogRecord) -> None:
        self.interrupted |= _contains(record, ("Terminating processes on user request",))

    def end(self, stream: TextIO = sys.stderr) -> None:
        """Report the failed jobs and their reasons at the end of the run."""
        self.close()
        kept = "finished results are kept, and the same command continues"
        # Ctrl-C stops jobs too, some before they can say so.
        failed = [line for line in self.failed.values() if not self.interrupted or ": error: " in line]
        if self.interrupted:
            print(f"Interrupted: {kept}.", file=stream)
        if failed:
            jobs = "1 job failed" if len(failed) == 1 else f"{len(failed)} jobs failed"
            print(f"{jobs}; {kept}:", *(f"  {line}" for line in failed), sep="\n", file=stream)
        elif self.begun is not None and self.stream is not None and not self.interrupted:
            print(f"{self.finished} of {self.total} jobs done in {self._elapsed()}.", file=stream)

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.stop()
        super().close()

    def _tell(self, what: str, *, always: bool = False) -> None:
        self._refresh()
        if self.stream is None or (self.bar is not None and not always):
            return
        place = f"[{self.finished:>{len(str(self.total))}}/{self.total}, {self._elapsed()}{self._left()}]"
        if self.bar is not None:
            self.bar.console.print(f"{place} {what}", markup=False, highlight=False)
        else:
            print(place, what, file=self.stream, flush=True)

    def _refresh(self) -> None:
        if self.bar is None or not self.total:
            return
        left = self.seconds_left() or 0.0
        elapsed = self.clock() - (self.begun or 0.0)
        self.bar.update(
            self.bar.task_ids[0],
            total=1.0,
            completed=elapsed / (elapsed + left) if self.finished else 0.0,
            jobs=f"{self.finished}/{self.total} jobs",
            left=self._left().removeprefix(", "),
            running="; ".join(str(job) for job in self.running.values() if job.log),
        )

    def seconds_left(self) -> float | None:
        """Estimate of the seconds until all jobs are done; None before one has finished.

        A job counts with the mean seconds of its rule's finished jobs and of one typical job, scaled to this
        machine and these settings. As many jobs are taken to run side by side as did so far.
        """
        if self.begun is None or not self.finished:
            return None
        now = self.clock()
        spent = sum(map(sum, self.seconds.values()))
        expected = sum(len(took) * _typical(rule) for rule, took in self.seconds.items())
        scale = spent / expected
        work = 0.0
        for rule, count in self.remaining.items():
            took = self.seconds.get(rule, [])
            work += count * (_typical(rule) * scale + sum(took)) / (1 + len(took))
        at_work = sum(now - job.began for job in self.running.values())
        side_by_side = max((spent + at_work) / max(now - self.begun, 1e-3), 1e-3)
        return max(work - at_work, 0.0) / side_by_side

    def _left(self) -> str:
        left = self.seconds_left()
        return "" if left is None or self.finished == self.total else f", ~{_rough(left)} left"

    def _elapsed(self) -> str:
        minutes, seconds = divmod(round(self.clock() - (self.begun or 0.0)), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def follow_run(logger: logging.Logger, settings: Any, is_main_process: bool = True) -> RunDisplay:
    """Attach a display to Snakemake's logger, in place of the usual twenty lines a job.

    With a logger plug-in, ``--quiet``, ``--verbose`` or ``--printshellcmds`` the output stays as asked for,
    and the display only collects failures. So it does in the process of a cluster's single job.
    """
    named = [handler for handler in logger.handlers if handler.name == "DefaultStreamHandler"]
    streams = [handler for handler in named if isinstance(handler, logging.StreamHandler)]
    if settings.dryrun and not settings.verbose:
        for handler in streams:
            handler.addFilter(_shorten)
    as_asked = settings.dryrun or settings.quiet or settings.verbose or settings.printshellcmds
    if as_asked or not streams or not is_main_process:
        display = RunDisplay(None)
    else:
        stream = streams[0].stream
        display = RunDisplay(stream, bar=stream.isatty())
        streams[0].addFilter(display.shows)
    logger.addHandler(display)
    return display


def _shorten(record: Any) -> bool:
    """Shorten the inputs and reasons of a job, which may name hundreds of files."""
    if getattr(record, "event", None) == "job_info":
        record.reason = textwrap.shorten(record.reason, LONGEST_REASON, placeholder=" ...")
        if len(record.input) > MOST_INPUTS:
            rest = f"... and {len(record.input) - MOST_INPUTS + 1} more"
            record.input = [*record.input[: MOST_INPUTS - 1], rest]
    return True


def _typical(rule: str) -> float:
    return TYPICAL_SECONDS.get(rule, OTHERWISE_SECONDS)


def _contains(record: logging.LogRecord, parts: tuple[str, ...]) -> bool:
    return any(part in record.getMessage() for part in parts)


def _rough(seconds: float) -> str:
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _bar(stream: TextIO) -> Any:
    """A bar at the bottom of a terminal that keeps itself up to date."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    bar = Progress(
        TextColumn("{task.fields[jobs]}"),
        BarColumn(bar_width=30),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[running]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
        console=Console(file=stream),
        refresh_per_second=2,
        redirect_stdout=False,
        redirect_stderr=False,
        transient=True,
    )
    bar.add_task("", total=1.0, jobs="", left="", running="")
    return bar
