"""What is wrong with a run: findings, the detectors that derive them from rows, trials of cures."""
