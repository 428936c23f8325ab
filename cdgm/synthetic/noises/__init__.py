"""Registry of observation noises of simulations; a new one is a module here and a line in the table."""

from cdgm.plugins import Registry

NOISES = Registry("noise", {"gaussian": "cdgm.synthetic.noises.gaussian:Gaussian"})
