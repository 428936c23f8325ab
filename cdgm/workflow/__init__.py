"""What Snakemake needs: plan and specifications of jobs, code digests, costs, and what a run shows."""
