"""Which settings of the data say how it is read, so that they hold for other data too.

Loads no numpy.
"""

NOT_READ_AGAIN = frozenset(
    {"data", "labels"}  # where it lies
    | {"validation", "folds", "fold", "group_column", "group_from_name"}  # how it is split
    | {"image_size", "channels", "fit", "grey_range", "large_images", "bands"}  # in the model file
)
"""Settings of the training that say nothing about how other data is read."""
