"""Results of runs and experiments, and the pages that show them."""
