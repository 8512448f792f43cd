"""What makes a race fair: trial points, rungs, the order of jobs, statistics. Pure functions."""
