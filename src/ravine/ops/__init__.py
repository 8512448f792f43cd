"""Tensors in, tensors out: autograd functions and custom operators over the C library."""
