"""setsail: a trained model in, a checked artifact and a typed endpoint out."""

__version__ = "0.1.0"
