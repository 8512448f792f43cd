"""predict.py: the short program that runs an export without Ravine, written for its preprocessing.

It decodes as `data.decode` does. What does not fit into its lines (deep grey of floats, LAB, deep
TIFF, planar TIFF) it refuses by name.
"""

from collections.abc import Mapping

from ravine.data.channel_counts import PLAIN
from ravine.data.dataset import Preprocessing
from ravine.exports.facts import KEY, Facts

_OPEN: Mapping[str, tuple[str, str, str]] = {
    "onnx": (
        "onnxruntime",
        'session = onnxruntime.InferenceSession(pathlib.Path(__file__).with_name("model.onnx"))\n'
        f'about = json.loads(session.get_modelmeta().custom_metadata_map["{KEY}"])',
        "session.run(None, {{{name!r}: given}})[0][0]",
    ),
    "openvino": (
        "openvino",
        'model = openvino.Core().read_model(pathlib.Path(__file__).with_name("model.xml"))\n'
        f'about = json.loads(model.get_rt_info(["{KEY}"]).astype(str))\n'
        'run = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})',
        "run([given])[0][0]",
    ),
    "pt2": (
        "torch",
        f'extra = {{"{KEY}.json": ""}}\n'
        'program = torch.export.load(pathlib.Path(__file__).with_name("model.pt2"), '
        "extra_files=extra)\n"
        f'run, about = program.module(), json.loads(extra["{KEY}.json"])',
        "run(torch.from_numpy(given))[0].detach().numpy()",
    ),
}
_READ_MODES = '{"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I;16B"}'
_BOX = "((w - s) / 2, (h - s) / 2, (w + s) / 2, (h + s) / 2)"
_FITS: Mapping[str, str] = {
    "crop": f"""\
    (w, h), s = image.size, min(image.size) * {{share!r}}
    {{unless}}image = image.resize((S, S), {{method}}, {_BOX}, 3.0)
    return np.asarray(image)""",
    "pad": """\
    w, h = (max(1, round(side * S / max(image.size))) for side in image.size)
    square, at = Image.new(image.mode, (S, S)), ((S - w) // 2, (S - h) // 2)
    if image.size != (S, S): image = image.resize((w, h), {method}, None, 3.0)
    square.paste(image, at)
    return np.asarray(square)""",
    "squash": """\
    if image.size != (S, S): image = image.resize((S, S), {method}, None, 3.0)
    return np.asarray(image)""",
}
_PROGRAM = '''\
"""Classifies images: python predict.py IMAGE ...; needs {library}, numpy and pillow alone."""
import contextlib, csv, json, pathlib, sys
import numpy as np, {library}
from PIL import Image, ImageOps
{limit}{open}
S = {size}  # pixels a side
def decode(image):
    tiff = image.format == "TIFF" and (image.mode[0] == "I" or image.tag_v2.get(284) == 2)
    if tiff or image.mode not in {modes}:
        sys.exit(f"{{image.filename}} ({{image.format}} {{image.mode}}): ravine predict reads it")
    if image.format == "JPEG" and min(image.size) >= 2 * S: image.draft(None, (2 * S, 2 * S))
    with contextlib.suppress(Exception): image = ImageOps.exif_transpose(image)
    if image.mode[0] == "I": image = Image.fromarray({deep})
    if "A" in image.mode or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    image = image.convert("{mode}")
{fit}
rows = csv.writer(sys.stdout, lineterminator="\\n")
rows.writerow(["image", "class", "probability", *about["classes"]])
for path in sys.argv[1:]:
    with Image.open(path) as image: given = {given}
    {answers}
    rows.writerow([path, {decision}, f"{{p.max():.6g}}", *(f"{{v:.6g}}" for v in p)])
'''


def has_program(facts: Facts, format_name: str) -> bool:
    """Returns whether such a program can run a format's file: on image files of no chosen bands."""
    made = facts.preprocessing
    plain = made is not None and not made.bands and made.channels in PLAIN
    return plain and format_name in _OPEN


def program_text(facts: Facts, format_name: str) -> str:
    """Returns the text of predict.py for a file of a format.

    Args:
        facts: of the file, with its preprocessing.
        format_name: onnx, openvino or pt2.
    """
    preprocessing = facts.preprocessing
    assert preprocessing is not None
    library, opening, run = _OPEN[format_name]
    return _PROGRAM.format(
        library=library,
        limit="" if preprocessing.large else "Image.MAX_IMAGE_PIXELS //= 2  # more is refused\n",
        open=opening,
        size=preprocessing.image_size,
        modes=_READ_MODES,
        deep=_deep(preprocessing),
        mode="L" if preprocessing.channels == 1 else "RGB",
        fit=_fit(preprocessing),
        given=_given(facts, preprocessing),
        answers=_answers(facts, run.format(name=facts.input_name)),
        decision=_decision(facts),
    )


def _fit(preprocessing: Preprocessing) -> str:
    """Returns the lines that make a picture square."""
    whole = preprocessing.crop_share == 1
    return _FITS[preprocessing.fit].format(
        method=f"Image.Resampling.{preprocessing.interpolation.upper()}",
        share=preprocessing.crop_share,
        unless="if (w, h) != (S, S): " if whole else "",
    )


def _deep(preprocessing: Preprocessing) -> str:
    """Returns the expression that turns 16-bit grey into bytes."""
    if preprocessing.grey_range is None:
        return '(np.asarray(image) // 257).astype("uint8")'
    low, high = preprocessing.grey_range
    scale = 255 / (high - low) if high > low else 0.0
    return (
        f"((np.asarray(image).astype(float).clip({low!r}, {high!r}) - {low!r}) * {scale!r})"
        '.round().astype("uint8")'
    )


def _given(facts: Facts, preprocessing: Preprocessing) -> str:
    """Returns the expression of the input, of one image."""
    pixels = "decode(image).reshape(1, S, S, -1)"
    if facts.inside:
        return pixels
    mean, std = list(preprocessing.mean), list(preprocessing.std)
    return (
        f"np.float32(({pixels} / 255 - {mean}) / {std}).transpose(0, 3, 1, 2)"
        if preprocessing.channels > 1
        else f"np.float32(({pixels} / 255 - {mean[0]}) / {std[0]}).transpose(0, 3, 1, 2)"
    )


def _answers(facts: Facts, run: str) -> str:
    """Returns the statement that sets the probabilities p."""
    if facts.inside:
        return f"p = {run}"
    if facts.rule.kind == "one":
        return f"p = {run}; p = np.exp(p - p.max()); p = p / p.sum()"
    return f"p = 1 / (1 + np.exp(-{run}))"


def _decision(facts: Facts) -> str:
    """Returns the expression of the decision, as it stands in the column class."""
    if facts.rule.kind == "one":
        return 'about["classes"][int(p.argmax())]'
    limits = list(facts.rule.thresholds) or [0.5] * len(facts.classes)
    return f'"|".join(c for c, v, t in zip(about["classes"], p, {limits}) if v >= t)'
