"""The formats in which a network leaves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from ravine.exports import onnx_file, openvino_file, pt2_file, timm_file
from ravine.exports.exportable import Exportable
from ravine.exports.runner import Runner


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFormat:
    """One format.

    Attributes:
        file: name of the file that is opened.
        about: what it is for, in a clause.
        library: that loads it, as the hub names it.
        write: writes the file, and what belongs to it next to it.
        open: opens it again, in so many threads.
        is_graph: whether a graph is written, and not weights for a network that others have.
        modules: what is needed to write and to open it.
        extra: of Ravine's package that installs them.
    """

    file: str
    about: str
    library: str
    write: Callable[[Exportable, Path], None]
    open: Callable[[Path, int], Runner]
    is_graph: bool = True
    modules: tuple[str, ...] = ()
    extra: str = ""


FORMATS: Mapping[str, ExportFormat] = {
    "onnx": ExportFormat(
        file="model.onnx",
        about="ONNX, for onnxruntime and most others",
        library="onnx",
        write=onnx_file.write_onnx,
        open=onnx_file.open_onnx,
        modules=onnx_file.MODULES,
        extra="onnx",
    ),
    "pt2": ExportFormat(
        file="model.pt2",
        about="torch.export, for torch without Ravine",
        library="pytorch",
        write=pt2_file.write_pt2,
        open=pt2_file.open_pt2,
    ),
    "openvino": ExportFormat(
        file="model.xml",
        about="OpenVINO",
        library="openvino",
        write=openvino_file.write_openvino,
        open=openvino_file.open_openvino,
        modules=openvino_file.MODULES,
        extra="openvino",
    ),
    "safetensors-timm": ExportFormat(
        file="model.safetensors",
        about="weights for timm.create_model",
        library="timm",
        write=timm_file.write_timm,
        open=timm_file.open_timm,
        is_graph=False,
        modules=timm_file.MODULES,
        extra="timm",
    ),
}
