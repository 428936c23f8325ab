"""What went wrong in a run of the workflow: its failed jobs, a line each, from Snakemake's log."""

from __future__ import annotations

import re
from collections.abc import Callable

_ERROR = re.compile(r"^Error in (?:local)?rule (\w+):\n((?: {4}.*\n)*)", re.MULTILINE)
_FINISHED = re.compile(r"^Finished jobid: (\d+)\b", re.MULTILINE)


def failed_jobs(log: str, read: Callable[[str], str]) -> list[str]:
    """Jobs that failed and did not succeed at a later attempt.

    Parameters
    ----------
    log
        Text of Snakemake's log.
    read
        Text of a file by its name, empty where there is none.

    Returns
    -------
    list of str
        For each job its rule, its log file and the last line of that file. Where the job wrote nothing (it
        was killed), what Snakemake says of it.
    """
    # By log file and not by number: on a cluster a job tells its failure itself too, with another number.
    failed: dict[str, str] = {}
    files: dict[str, str] = {}
    events = sorted([*_ERROR.finditer(log), *_FINISHED.finditer(log)], key=lambda match: match.start())
    for event in events:
        if event.re is _FINISHED:
            failed.pop(files.get(event[1], ""), None)
            continue
        entries = dict(re.findall(r"^ {4}(\w+): (.*)$", event[2], re.MULTILINE))
        file = re.split(r", | \(check log", entries.get("log", f"rule {event[1]}"))[0]
        files[entries.get("jobid", "")] = file
        said = read(file).strip().splitlines()
        message = entries.get("message", "None")
        # The first sentence; a cluster's goes on with advice.
        unsaid = "no message; it was stopped from outside" if message == "None" else message.split(". ")[0]
        failed.setdefault(file, f"{event[1]}: {file}: {said[-1] if said else unsaid}")
    return list(failed.values())
