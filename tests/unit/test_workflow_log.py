"""Failed jobs are read off Snakemake's log; that this is what Snakemake writes is tested with real runs."""

from __future__ import annotations

from cdgm.workflow.failures import failed_jobs

LOG = """\
[Tue Nov 24 08:35:32 2026]
Error in rule fit:
    message: SLURM-job '3' failed, SLURM status is: 'FAILED'. For further error details see the log.
    jobid: 4
    output: results/fits/a/model.npz, results/fits/a/spec.json
    log: results/logs/fit/a.log, slurm_logs/3.log (check log file(s) for error details)
    shell:
        python -m workflow_scripts.fit --spec '{"jobid: 9": 1}' 2> results/logs/fit/a.log
        (command exited with non-zero exit code)
    external_jobid: 3
Logfile results/logs/fit/a.log: empty file
Trying to restart job 4.
[Tue Nov 24 08:36:26 2026]
Error in rule fit:
    message: None
    jobid: 5
    log: results/logs/fit/b.log (check log file(s) for error details)
Logfile results/logs/fit/b.log:
====
step 1
error: bad data
====
[Tue Nov 24 08:36:30 2026]
"""
FILES = {"results/logs/fit/b.log": "step 1\nerror: bad data\n"}


def read(name: str) -> str:
    return FILES.get(name, "")


def test_each_job_s_last_line_is_told():
    assert failed_jobs(LOG, read) == [
        "fit: results/logs/fit/a.log: SLURM-job '3' failed, SLURM status is: 'FAILED'",
        "fit: results/logs/fit/b.log: error: bad data",
    ]


def test_a_job_that_succeeds_at_a_later_attempt_has_not_failed():
    assert failed_jobs(LOG + "Finished jobid: 4 (Rule: fit)\n", read) == [
        "fit: results/logs/fit/b.log: error: bad data"
    ]


def test_a_job_that_fails_twice_is_told_once():
    assert len(failed_jobs(LOG + LOG, read)) == 2
    assert len(failed_jobs(LOG + "Finished jobid: 4 (Rule: fit)\n" + LOG, read)) == 2


def test_a_job_of_a_cluster_that_tells_its_failure_itself_is_told_once():
    # Its own log, with the number that the job has there, is shown below the failure.
    again = LOG.replace("jobid: 4", "jobid: 0").replace("jobid: 5", "jobid: 0")
    again = again.replace(
        "message: SLURM-job '3' failed, SLURM status is: 'FAILED'. For further error details see the log.",
        "message: None",
    )
    assert failed_jobs(LOG + again, read) == failed_jobs(LOG, read)


def test_a_job_that_was_killed_in_silence():
    assert failed_jobs(LOG, lambda name: "")[1].endswith("b.log: no message; it was stopped from outside")


def test_a_run_without_failures():
    assert failed_jobs("Finished jobid: 4 (Rule: fit)\n", read) == []
