"""Offline evaluation of click predictions.

`scoring` makes scored rows of sessions, `predictions` keeps them in files, `store` holds any number of them by user,
`evaluator` computes every metric of one or several models from a store, `comparison` compares models by their files.
`metrics` and `grouped` are the definitions, `significance` intervals and p-values, `panel` what ranked lists look like.
`off_policy` estimates what another policy's lists would have earned.
"""
