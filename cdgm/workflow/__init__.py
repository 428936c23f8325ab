"""What Snakemake needs: the plan of jobs, code digests, costs, failures."""
