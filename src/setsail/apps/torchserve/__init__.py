"""Handlers of TorchServe, unchanged, in a process of their own.

entry     an archive -> the code that it is, in the parent
handling  requests -> the handler's calls -> its answers, in the child
shims/ts  what handlers import from TorchServe; own code, first on the child's path
"""
