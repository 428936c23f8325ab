"""What Snakemake needs: the plan of jobs and their specifications, code digests, costs, the display of a run."""
