"""setsail beside its peers, on the same models with the same load: `python -m benchmarks`."""
