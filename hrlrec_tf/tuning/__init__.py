"""Hyper-parameter search on the validation slice: space, KerasTuner's oracles, trials as processes, what mattered."""
