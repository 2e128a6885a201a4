"""RL competitors (Table 3): HRL-Rec with parts taken away, on its own training loop, states, rewards and sessions.

`config` names the models and holds every default; `designs` says which network, agent and ranker each is made of;
`linear_state`, `q_heads` and `networks` are what HRL-Rec does not have; `q_learning` is the mathematics of `dqn`.
"""
