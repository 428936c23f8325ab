"""Parts of the Snakemake workflow: plan and specifications of jobs, code digests, costs, display of a run."""
