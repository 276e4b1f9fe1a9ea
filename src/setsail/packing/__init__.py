"""From a trained model to an artifact, and back to proof: pack, verify, export."""

from setsail.packing.export import TARGETS, Exported, export
from setsail.packing.pack import PackOptions, pack, pack_cached
from setsail.packing.verify import Verification, verify

__all__ = ["TARGETS", "Exported", "PackOptions", "Verification", "export", "pack", "pack_cached", "verify"]
