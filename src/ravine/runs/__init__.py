"""The run folder: plain files that people can read, copy, diff and delete."""
