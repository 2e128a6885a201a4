"""Feed simulator: users, corpus, feed (the true click model), logging policy and logs over one `WorldConfig`."""
