"""What a network does inside, layer by layer: any module, any loop."""

from ravine.diagnosis.variance import LayerVariance, VarianceProfile, variance_profile

__all__ = ["LayerVariance", "VarianceProfile", "variance_profile"]
