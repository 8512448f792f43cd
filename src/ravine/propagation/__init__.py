"""The variance of activations and gradients, layer by layer: predicted and measured."""

from typing import TYPE_CHECKING

from ravine.core.lazy import lazy_names

if TYPE_CHECKING:
    from ravine.propagation.variance import LayerVariance, VarianceProfile, variance_profile
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "LayerVariance": "ravine.propagation.variance",
            "VarianceProfile": "ravine.propagation.variance",
            "variance_profile": "ravine.propagation.variance",
        },
    )

__all__ = ["LayerVariance", "VarianceProfile", "variance_profile"]
