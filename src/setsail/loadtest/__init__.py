"""Driving a server and timing its answers: what `setsail bench` does.

The measuring process (`bench.py`) starts a second one (`driver.py`) that sends and times requests and does nothing
else, and a third where a model's own server is measured. They share no interpreter. Pure: `schedules.py`,
`statistics.py`, `plot.py`, `replies.py`, `wires.py`. Nothing of the server is imported: any server of the Open
Inference Protocol may be the target.
"""
