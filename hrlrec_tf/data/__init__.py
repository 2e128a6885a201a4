"""Impression logs, the Beam job that makes sessions of them, and what training reads."""
