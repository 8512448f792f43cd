"""The variance of activations and gradients, layer by layer: predicted and measured."""

from ravine.propagation.variance import LayerVariance, VarianceProfile, variance_profile

__all__ = ["LayerVariance", "VarianceProfile", "variance_profile"]
