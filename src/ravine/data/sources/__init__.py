"""One file for each way in which labelled images lie on disk."""
