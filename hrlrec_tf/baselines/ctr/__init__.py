"""Click prediction baselines (Table 2): one formula per file, one training loop, the sessions that HRL-Rec reads.

`config` names the models and holds every default; `fields` makes rows of sessions; `lr`, `fm`, `nfm`, `afm`,
`wide_deep`, `deepfm`, `autoint` and `history_lr` are the formulas over the parts in `inputs`, `crosses` and
`dense_stack`; `training` trains them and opens what it made.
"""
