"""Kernels in plain C and in Triton, called by address."""
