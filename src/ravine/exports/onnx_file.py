"""model.onnx: written by torch's exporter from a captured program, run by onnxruntime."""

import re
import warnings
from pathlib import Path

import numpy as np
import torch
from torch.export import ExportedProgram

from ravine.core.errors import SettingError
from ravine.exports.exportable import Exportable
from ravine.exports.facts import KEY
from ravine.exports.needed_module import needed
from ravine.exports.runner import Runner

MODULES = ("onnx", "onnxscript", "onnxruntime")
_NODE = re.compile(r"%(?P<node>\w+) .*?target=torch\.ops\.(?P<operator>[\w.]+)\]")


def write_onnx(exportable: Exportable, path: Path) -> None:
    """Writes the file, with the facts in its metadata.

    Raises:
        SettingError: ONNX has no operator for one of the network's.
    """
    facts = exportable.facts
    written = _converted(exportable.captured.program, facts.input_name, facts.output_name)
    written.model.metadata_props[KEY] = facts.to_text()
    written.save(path)


def _converted(
    program: ExportedProgram, input_name: str, output_name: str
) -> torch.onnx.ONNXProgram:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about its own code
            found = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=[input_name],
                output_names=[output_name],
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise _without_operator(program, error) from error
    assert found is not None
    return found


def _without_operator(program: ExportedProgram, error: BaseException) -> SettingError:
    """Returns the line about an operator that has no form in ONNX, with its layer."""
    causes, cause = [], error.__cause__
    while cause is not None:
        causes.append(str(cause))
        cause = cause.__cause__
    match = next((found for text in causes if (found := _NODE.search(text))), None)
    if match is None:
        return SettingError(f"ONNX: torch's exporter failed: {(causes or [str(error)])[-1][:300]}")
    operator = match["operator"]
    layer = next(
        (
            _layer(node.meta)
            for node in program.graph.nodes
            if node.name == match["node"] or str(node.target) == operator
        ),
        "",
    )
    reason = causes[-1].splitlines()[0][:160]
    where = f" of layer {layer}" if layer else ""
    return SettingError(
        f"ONNX has no operator for {operator}{where}; replace it in the network, or take "
        f"--format pt2 ({reason})"
    )


def _layer(meta: dict[str, object]) -> str:
    stack = meta.get("nn_module_stack")
    names = [name for name, _ in stack.values()] if isinstance(stack, dict) else []
    return names[-1] if names else ""


def open_onnx(path: Path, threads: int) -> Runner:
    """Returns what runs a file in onnxruntime on the CPU.

    Args:
        path: of the file.
        threads: within an operator.
    """
    onnxruntime = needed("onnxruntime", extra="onnx", what="format onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (name,) = (one.name for one in session.get_inputs())

    def run(images: np.ndarray) -> np.ndarray:
        (found,) = session.run(None, {name: images})
        return np.asarray(found)

    return Runner(run=run, runtime=f"onnxruntime {onnxruntime.__version__}")
