"""Decorators of handlers."""
