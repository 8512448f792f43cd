"""How many channels images have: grey one, colour three, bands of arrays up to 16.

Loads no numpy.
"""

MOST_BANDS = 16

PLAIN = (1, 3)
"""Channels of grey and of colour, the only ones that image files have."""
