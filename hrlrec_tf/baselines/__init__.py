"""What HRL-Rec is compared with."""
