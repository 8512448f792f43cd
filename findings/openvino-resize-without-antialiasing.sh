#!/bin/bash
# OpenVINO 2026.4.1 reads ONNX's Resize without its `antialias`.
#
# Resize of opset 18 has `antialias=1`: on the way down the filter is widened, as Pillow and torch's
# antialias=True do. Exported preprocessing that shrinks images has it. OpenVINO's ONNX frontend
# takes the model and computes the resize as if it were 0: points between which whole rows and
# columns are skipped. No error, no warning. ONNX Runtime and ONNX's own reference evaluator agree
# with each other on the same file; a network that was exported with its resize sees other images.
#
# Seen on an AMD EPYC, November 2026; 32×32 noise shrunk to 8×8 linearly, largest difference to
# ONNX's reference evaluator:
#   ONNX Runtime 1.32.0: under 1e-5
#   OpenVINO 2026.4.1: 1.01, and under 1e-5 to the same resize with antialias=0
#
# Ends with 0 if that is seen again, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator


def resize(antialias: int) -> onnx.ModelProto:
    """Returns a model that shrinks (1, 1, 32, 32) to (1, 1, 8, 8)."""
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 1, 32, 32])
    small = helper.make_tensor_value_info("small", TensorProto.FLOAT, [1, 1, 8, 8])
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [4], [1, 1, 8, 8])
    node = helper.make_node(
        "Resize", ["images", "", "", "sizes"], ["small"], mode="linear",
        coordinate_transformation_mode="half_pixel", antialias=antialias,
    )
    graph = helper.make_graph([node], "resize", [images], [small], [sizes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


given = np.random.default_rng(0).standard_normal((1, 1, 32, 32)).astype(np.float32)
smooth, sharp = resize(1), resize(0)


def by_reference(model: onnx.ModelProto) -> np.ndarray:
    return ReferenceEvaluator(model).run(None, {"images": given})[0]


def by_openvino(model: onnx.ModelProto) -> np.ndarray:
    core = openvino.Core()
    read = core.read_model(model.SerializeToString())
    return core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([given])[0]


session = onnxruntime.InferenceSession(smooth.SerializeToString())
want = by_reference(smooth)
runtime = np.abs(session.run(None, {"images": given})[0] - want).max()
other = np.abs(by_openvino(smooth) - want).max()
ignored = np.abs(by_openvino(smooth) - by_reference(sharp)).max()
print(f"ONNX Runtime {runtime:.1e}, OpenVINO {other:.2f}; to the resize without: {ignored:.1e}")
sys.exit(not (runtime < 1e-5 and other > 0.5 and ignored < 1e-5))
PYTHON
