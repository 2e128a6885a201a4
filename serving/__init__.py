"""Serving: the typed client, the embedded TensorFlow-Serving-compatible server, the `serve` and `rank` verbs.

`serving` uses `hrlrec_tf`, never the reverse. Importing this package does not import TensorFlow.
"""
