"""The names of the formats in which a network leaves; loads no torch."""

from typing import Final

FORMAT_NAMES: Final = ("onnx", "pt2", "openvino", "safetensors-timm")
