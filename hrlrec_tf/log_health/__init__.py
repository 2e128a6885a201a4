"""What a log is like, learnt from its sessions before anything is trained on them: figures, findings and a page."""
