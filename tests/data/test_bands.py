"""Images of 2 or 4 to 16 channels out of arrays: read, resized, shown, and refused where wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ravine.core.errors import DataError, SettingError
from ravine.data.array_channels import array_channels
from ravine.data.augment_settings import AugmentSettings, choose_operations
from ravine.data.bands import as_picture
from ravine.data.contact_sheet import draw_sheet
from ravine.data.dataset import Dataset, Preprocessing
from ravine.data.decode import fit_square
from ravine.data.given_images import open_given
from ravine.data.network_images import open_labelled, open_unlabelled
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings

LABELS = np.array([0, 1, 2, 0, 1, 2])
CLASSES = ("0", "1", "2")


def _images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _saved(folder: Path, images: np.ndarray) -> Path:
    path = folder / "a.npz"
    np.savez(path, images=images, labels=LABELS[: len(images)])
    return path


def _open(path: Path, **options: object) -> Dataset:
    return open_dataset(DataSettings.of({"data": str(path), "validation": 0, **options}), seed=0)


def _network(channels: int) -> Preprocessing:
    return Preprocessing(
        image_size=16, channels=channels, mean=(0.5,) * channels, std=(0.2,) * channels
    )


@pytest.mark.parametrize("channels", [2, 4, 5, 16])
def test_bands_come_as_they_are_with_statistics_of_each(tmp_path: Path, channels: int) -> None:
    images = _images(6, 20, 20, channels)

    found = _open(_saved(tmp_path, images))

    assert np.array_equal(found.images[:], images)
    assert found.preprocessing.channels == channels
    values = images.reshape(-1, channels) / 255
    np.testing.assert_allclose(found.preprocessing.mean, values.mean(0), atol=1e-12)
    np.testing.assert_allclose(found.preprocessing.std, values.std(0), atol=1e-9)
    assert Preprocessing.from_json(found.preprocessing.to_json()) == found.preprocessing
    shown = "the first as grey" if channels == 2 else "the first three as red, green, blue"
    assert f"{channels} bands (those of the array)" in found.audit["rule"]
    assert shown in found.audit["rule"]


@pytest.mark.parametrize(
    ("shape", "asked", "read"),
    [
        ((6, 20, 24, 5), "auto", (20, 24, 5)),  # one axis of up to 16
        ((6, 5, 20, 24), "auto", (20, 24, 5)),
        ((6, 8, 8, 5), "auto", (8, 8, 5)),  # both, and one reading is square
        ((6, 5, 8, 8), "auto", (8, 8, 5)),
        ((6, 5, 12, 16), "5", (12, 16, 5)),  # both, none square: as asked
        ((6, 5, 12, 16), "16", (5, 12, 16)),
        ((6, 16, 16, 3), "auto", (16, 16, 3)),  # grey and colour go before
        ((6, 3, 12, 16), "auto", (12, 16, 3)),
        ((6, 5, 20), "5", None),  # grey: nothing to choose
    ],
)
def test_the_axis_of_the_channels(
    tmp_path: Path, shape: tuple[int, ...], asked: str, read: tuple[int, ...] | None
) -> None:
    path = _saved(tmp_path, _images(*shape))
    settings = DataSettings.of({"data": str(path), "channels": asked})

    if read is None:
        assert array_channels(settings) == 1
        return
    found = _open(path, channels=asked, image_size=24, fit="squash")

    assert array_channels(settings) == read[2]
    assert found.images.shape == (6, 24, 24, read[2])
    block = np.load(path)["images"]
    first = block.transpose(0, 2, 3, 1) if read != shape[1:] else block
    expected = fit_square(np.ascontiguousarray(first[4]), 24, "squash")
    assert np.array_equal(found.images[4], expected)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((6, 20, 20, 17), "wanted is (N, H, W, C) with 1 to 16 channels"),
        ((6, 17, 20, 20), "wanted is (N, H, W, C) with 1 to 16 channels"),
        ((6, 5, 12, 16), "name the channels: --channels 16, or --channels 5"),
        ((6, 8, 8, 8), "save images of more than 16 pixels a side"),
        ((6, 20, 20, 5, 2), "wanted is (N, H, W, C)"),
    ],
)
def test_shapes_of_no_images_or_of_two_kinds_are_refused(
    tmp_path: Path, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        _open(_saved(tmp_path, _images(*shape)))

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (40, 40)])
def test_each_band_is_resized_as_a_grey_image_is(fit: str, shape: tuple[int, int]) -> None:
    image = _images(*shape, 5)
    found = fit_square(image, 16, fit, interpolation="bicubic", crop_share=0.9)

    assert found.shape == (16, 16, 5)
    for band in range(5):
        alone = image[:, :, band : band + 1]
        grey = fit_square(alone, 16, fit, interpolation="bicubic", crop_share=0.9)
        assert np.array_equal(found[:, :, band : band + 1], grey)


def test_mean_and_std_take_a_number_for_each_band(tmp_path: Path) -> None:
    path = _saved(tmp_path, _images(6, 20, 20, 5))

    found = _open(path, mean="0.1,0.2,0.3,0.4,0.5", std=0.5).preprocessing

    assert found.mean == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert found.std == (0.5,) * 5
    with pytest.raises(SettingError, match="mean has 3 values, and the images have 5 channels"):
        _open(path, mean="0.1,0.2,0.3")


@pytest.mark.parametrize("channels", ["1", "3", "4"])
def test_other_channels_than_the_array_has_are_refused(tmp_path: Path, channels: str) -> None:
    with pytest.raises(SettingError, match=r"channels \d: the images of .*a.npz have 5; leave"):
        _open(_saved(tmp_path, _images(6, 20, 20, 5)), channels=channels)


def test_bands_of_tiffs_are_not_chosen_from_arrays(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="bands 4,3,2: has no effect, it is for TIFFs"):
        _open(_saved(tmp_path, _images(6, 20, 20, 5)), bands="4,3,2")


@pytest.mark.parametrize("value", ["17", "0", "many", "05", ""])
def test_channels_are_auto_or_up_to_16(value: str) -> None:
    with pytest.raises(
        SettingError, match="wanted is auto, 1 for grey, 3 for colour, or the bands"
    ):
        DataSettings.of({"channels": value})


def test_image_files_have_no_bands(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(_images(12, 12, 3)).save(tmp_path / name / f"{number}.png")

    with pytest.raises(SettingError, match="channels 5: image files are read as 1"):
        _open(tmp_path, channels="5")
    with pytest.raises(DataError, match="image files are read as 1 or 3 channels, and the network"):
        open_labelled(str(tmp_path), labels=None, preprocessing=_network(5), classes=("cat", "dog"))
    with pytest.raises(DataError, match="give it an array of 5, as in a "):
        open_unlabelled([tmp_path / "cat"], preprocessing=_network(5))


@pytest.mark.parametrize(("bands", "network"), [(5, 3), (5, 1), (3, 5), (1, 5), (5, 4), (4, 3)])
def test_a_network_of_other_channels_refuses_the_images(
    tmp_path: Path, bands: int, network: int
) -> None:
    path = _saved(tmp_path, _images(6, 20, 20, bands))
    message = f"a.npz has images of {bands} channels, and the network takes {network}; give it"

    with pytest.raises(DataError, match=message):
        open_labelled(str(path), labels=None, preprocessing=_network(network), classes=CLASSES)
    with pytest.raises(DataError, match=message):
        open_unlabelled([path], preprocessing=_network(network))


def test_the_network_decides_which_axis_holds_the_bands(tmp_path: Path) -> None:
    images = _images(6, 5, 12, 16)
    path = _saved(tmp_path, images)
    np.save(tmp_path / "b.npy", images)

    labelled = open_labelled(str(path), labels=None, preprocessing=_network(5), classes=CLASSES)
    predicted = open_unlabelled([tmp_path / "b.npy"], preprocessing=_network(5))

    expected = [fit_square(np.ascontiguousarray(one.transpose(1, 2, 0)), 16) for one in images]
    assert np.array_equal(labelled.images[:], expected)
    assert np.array_equal(predicted.images[:], expected)


def test_arrays_and_tensors_in_hand_are_predicted_as_those_in_files(tmp_path: Path) -> None:
    images = _images(6, 20, 20, 5)
    np.save(tmp_path / "b.npy", images)
    expected = open_unlabelled([tmp_path / "b.npy"], preprocessing=_network(5)).images[:]

    tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
    for form in ([images], list(images), [tensor], [tensor.float() / 255], [images / 255]):
        found = open_given(form, preprocessing=_network(5))
        assert np.array_equal(found.images[:], expected)

    for wrong in (images[..., :3], images[0, :, :, 0], tensor[:, :4]):
        with pytest.raises(DataError, match="does not have the 5 channels that the network takes"):
            open_given([wrong], preprocessing=_network(5))
    with pytest.raises(DataError, match=r"an image of Pillow .* give an array \(H, W, 5\)"):
        open_given([Image.fromarray(images[0, :, :, :3])], preprocessing=_network(5))


def test_pictures_show_the_first_three_bands_or_the_first(tmp_path: Path) -> None:
    image = _images(12, 12, 5)

    assert np.array_equal(np.asarray(as_picture(image)), image[:, :, :3])
    assert np.array_equal(np.asarray(as_picture(image[:, :, :2])), image[:, :, 0])
    assert np.array_equal(np.asarray(as_picture(image[:, :, :1])), image[:, :, 0])
    sheets = [draw_sheet([image[:, :, :count]], ["a"]) for count in (3, 5)]
    assert np.array_equal(np.asarray(sheets[0]), np.asarray(sheets[1]))


def test_jitter_is_left_out_for_bands_with_a_line() -> None:
    asked = AugmentSettings(augment="flip,cutout,jitter")

    operations, reason = choose_operations(asked, classes=["cat", "dog"], channels=5)

    assert operations == ("flip", "cutout")
    assert reason.endswith("as asked; no jitter, since 5 bands are no colours")
    for channels in (1, 3):
        kept, _ = choose_operations(asked, classes=["cat", "dog"], channels=channels)
        assert kept == ("flip", "cutout", "jitter")
