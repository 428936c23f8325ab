"""Registry of penalties: functions of a pass, (E,), added to the loss with a weight. None yet."""

from cdgm.plugins import Registry

PENALTIES = Registry("penalty", {})
