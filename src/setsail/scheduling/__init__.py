"""Who waits, what runs together, where, and who is refused. Pure: no sockets, no threads, no clock; `now` is passed in.

`Scheduler` is the whole of it for one model; `docs/scheduling.md` tells what happens to a request. Read `ticket.py`,
then `scheduler.py`.
"""

from setsail.scheduling.cache import Hit, Lead, ResponseCache, Wait
from setsail.scheduling.inline import Turn
from setsail.scheduling.rules import Rules
from setsail.scheduling.scheduler import Scheduler
from setsail.scheduling.ticket import Batch, Ticket
from setsail.scheduling.times import RunTimes

__all__ = [
    "Batch", "Hit", "Lead", "ResponseCache", "Rules", "RunTimes", "Scheduler", "Ticket", "Turn", "Wait",
]  # fmt: skip
