"""What every test run gets: property tests without deadlines, and a Ctrl-C that arrives."""

import os
import signal

from hypothesis import HealthCheck, settings

# Slow machines: no deadline for an example, and in CI the same examples every time.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# A shell has jobs in the background (`make test &`, nohup) ignore SIGINT; their children inherit that, and tests that
# interrupt a child would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
