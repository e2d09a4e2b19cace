"""Studies: whole tables of runs, resumable."""
