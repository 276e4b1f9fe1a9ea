"""Counts and timings of the hot path, kept without any metrics library; the admin port renders them when asked."""
