"""Who waits, what runs together, where, and who is refused. Pure: no sockets, no threads, no clock; `now` is passed in."""
from setsail.scheduling.interim import Batch, Rules, RunTimes, Scheduler, Ticket
