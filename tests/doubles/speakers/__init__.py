"""How a client speaks each wire: one row of SPEAKERS is one form of a request, written and read by hand.

A speaker has no sockets: it turns named arrays into the bytes of a request, and the bytes of an answer into named
arrays. What drives them is `line.py`; what holds a server to them is `tests/contracts/test_speakers.py`, and the table
in docs/wires/README.md is made of what each row says of itself. A new wire is a row here.
"""

from __future__ import annotations

from speakers import http_wires, oip, tf_serving, torchserve
from speakers.speaking import Ask, Heard, Said, Speaker

__all__ = ["SPEAKERS", "Ask", "Heard", "Said", "Speaker"]

SPEAKERS: dict[str, Speaker] = {
    speaker.name: speaker
    for speaker in (*http_wires.SPEAKERS, *oip.SPEAKERS, *tf_serving.SPEAKERS, *torchserve.SPEAKERS)
}
