"""model.xml and model.bin: OpenVINO's form of a captured program, run by OpenVINO."""

from pathlib import Path

import numpy as np

from ravine.core.errors import SettingError
from ravine.exports.exportable import Exportable
from ravine.exports.facts import KEY
from ravine.exports.needed_module import needed
from ravine.exports.runner import Runner

MODULES = ("openvino",)


def write_openvino(exportable: Exportable, path: Path) -> None:
    """Writes the files, with the facts in the model's runtime information.

    Raises:
        SettingError: OpenVINO cannot convert an operator of the network.
    """
    openvino = needed("openvino", extra="openvino", what="format openvino")
    facts = exportable.facts
    try:
        model = openvino.convert_model(
            exportable.captured.program, example_input=exportable.example
        )
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if "No conversion rule" in line]
        told = lines[0] if lines else str(error).strip().splitlines()[-1][:300]
        raise SettingError(f"OpenVINO cannot convert the network: {told}") from error
    model.input(0).set_names({facts.input_name})
    model.output(0).set_names({facts.output_name})
    model.set_rt_info(facts.to_text(), [KEY])
    # Half of the file, but answers that differ by more than the proof allows.
    openvino.save_model(model, path, compress_to_fp16=False)


def open_openvino(path: Path, threads: int) -> Runner:
    """Returns what runs a file in OpenVINO on the CPU, in float32.

    Args:
        path: of model.xml.
        threads: of the inference.
    """
    openvino = needed("openvino", extra="openvino", what="format openvino")
    hints = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(path, "CPU", hints)

    def run(images: np.ndarray) -> np.ndarray:
        return np.array(compiled([images])[0])

    return Runner(run=run, runtime=f"OpenVINO {openvino.__version__.partition('-')[0]}")
