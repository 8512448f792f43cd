"""What lies on disk, checked, decoded, split, augmented: batches on the device.

The names are lazy, because decoding runs in processes that load no torch.
"""
