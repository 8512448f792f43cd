"""Passes over memory in C and in Triton, and what stands in for them elsewhere."""
