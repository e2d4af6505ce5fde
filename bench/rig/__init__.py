"""What the benchmarks share: servers, load, and what they cost."""
