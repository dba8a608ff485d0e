"""`make demo`: one model's whole way, as three people walk it, on this machine alone."""
