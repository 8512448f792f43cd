"""Readers of labelled images, one file for each format on disk."""
