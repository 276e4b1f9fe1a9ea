"""Trained models of any framework to a Conversion: programs, the contract, and the source's own outputs.

`recognise` says what a file is, `convert` turns a live model or a harmless file into a Conversion, `child` does so for
files whose loading can run code. No framework is imported before it is chosen.
"""

from setsail.convert.formats import FORMATS, FRAMEWORKS, Source
from setsail.convert.registry import convert
from setsail.convert.sniff import recognise

__all__ = ["FORMATS", "FRAMEWORKS", "Source", "convert", "recognise"]
