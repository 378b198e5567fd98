"""How busy the machine is with anything but the measurement."""

import math
import os
from pathlib import Path


def seconds_of_others() -> float:
    """Processor time spent so far on anything but this command; NaN where Linux is absent."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return math.nan
    user, nice, system = map(int, stat.read_text().split()[1:4])
    own = os.times()
    ours = own.user + own.system + own.children_user + own.children_system
    return (user + nice + system) / os.sysconf("SC_CLK_TCK") - ours
