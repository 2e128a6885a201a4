"""TF-Agents agents: one DDPG agent per level, composed into HRL-Rec."""
