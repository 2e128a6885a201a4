"""Training on several machines: the cluster, its roles, and where a training step runs."""
