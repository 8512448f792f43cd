"""int8: static quantisation of an ONNX file by onnxruntime, calibrated on training images.

Weights per channel, activations by the range that the calibration images give them, in QDQ form.
"""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ravine.core.errors import SettingError
from ravine.exports.needed_module import needed


class _Reader:
    """Calibration images, in the form that onnxruntime asks for."""

    def __init__(self, name: str, batches: Iterable[np.ndarray]) -> None:
        self._name = name
        self._batches: Iterator[np.ndarray] = iter(batches)

    def get_next(self) -> dict[str, Any] | None:
        """Returns the next images by the input's name; None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


def quantise_onnx(
    source: Path, target: Path, batches: Iterable[np.ndarray], *, input_name: str
) -> None:
    """Writes an int8 form of a float32 ONNX file.

    Args:
        source: the float32 file.
        target: the file to write.
        batches: calibration images as the file takes them, (B, C, H, W) or (B, S, S, C).
        input_name: of the file.

    Raises:
        SettingError: onnxruntime cannot quantise the network.
    """
    quantisation: Any = needed("onnxruntime.quantization", extra="onnx", what="--int8")
    prepared = target.with_name("prepared.onnx")
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it logs hints through the root logger
    try:
        quantisation.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantisation.quantize_static(
            str(prepared),
            str(target),
            _Reader(input_name, batches),
            quant_format=quantisation.QuantFormat.QDQ,
            activation_type=quantisation.QuantType.QInt8,
            weight_type=quantisation.QuantType.QInt8,
            per_channel=True,
        )
    except Exception as error:
        raise SettingError(f"onnxruntime cannot quantise the network: {error}") from error
    finally:
        root.setLevel(level)
        prepared.unlink(missing_ok=True)
