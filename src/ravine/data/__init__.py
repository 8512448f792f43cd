"""Images on disk: found, decoded, audited, split, augmented, and served as batches.

This package imports nothing, because decoding workers load no torch.
"""
