"""Training: seeded, resumable, one thread for small networks. Nothing here knows about tables."""
