import copy

import pytest
import torch
from torch import nn

from ravine.core.errors import SettingError
from ravine.models import build
from ravine.nn import Dropout, convert_dropout, make_norm


@pytest.mark.parametrize("form", ["inverted", "classic"])
def test_the_expectation_of_learning_is_the_application(form: str) -> None:
    torch.manual_seed(0)
    layer = Dropout(0.3, form)  # type: ignore[arg-type]
    x = torch.full((200_000,), 2.0)
    learning = layer.train()(x)
    assert float((learning == 0).float().mean()) == pytest.approx(0.3, abs=0.005)
    kept = 2.0 if form == "classic" else 2.0 / 0.7
    assert float(learning.max()) == pytest.approx(kept)
    assert float(learning.mean()) == pytest.approx(float(layer.eval()(x).mean()), rel=0.01)


@pytest.mark.parametrize("to", ["classic", "inverted"])
def test_a_trained_network_is_converted_without_changing_its_outputs(to: str) -> None:
    torch.manual_seed(0)
    start = "inverted" if to == "classic" else "classic"
    for name, size in (("wrn-10-1", 16), ("resnet-cifar-8", 16), ("alexnet-2014", 32)):
        model = build(
            name,
            classes=3,
            image_size=size,
            dropout=0.4,
            dropout_form=start,  # type: ignore[arg-type]
        ).eval()
        x = torch.randn(2, 3, size, size)
        before = model(x)
        assert convert_dropout(model, to) > 0  # type: ignore[arg-type]
        torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-5)
        assert all(m.form == to for m in model.modules() if isinstance(m, Dropout))


def test_a_dropout_that_nothing_follows_is_refused_and_the_model_stays() -> None:
    model = nn.Sequential(nn.Linear(4, 4), Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 2))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(SettingError, match="no linear layer or convolution follows"):
        convert_dropout(model, "classic")
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model[1].form == "inverted"


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5])
def test_p_outside_its_range_is_refused(p: float) -> None:
    with pytest.raises(SettingError, match=r"dropout must be in \[0, 1\)"):
        Dropout(p)


def test_batch_norm_agrees_with_a_float64_loop() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    layer = make_norm("batch", 3).double().train()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.5, -0.5, 2.0]))
        layer.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    out = layer(x)
    for j in range(3):
        values = [float(v) for v in x[:, j].flatten()]
        mean = sum(values) / len(values)
        biased = sum((v - mean) ** 2 for v in values) / len(values)
        expected = [
            float(layer.weight[j].detach()) * (v - mean) / (biased + 1e-5) ** 0.5
            + float(layer.bias[j].detach())
            for v in values
        ]
        assert out[:, j].detach().flatten().tolist() == pytest.approx(expected)
        unbiased = biased * len(values) / (len(values) - 1)
        assert float(layer.running_var[j]) == pytest.approx(0.9 + 0.1 * unbiased)


def test_group_norm_divides_any_number_of_channels() -> None:
    for channels in (1, 6, 16, 37, 48):
        x = torch.randn(2, channels, 3, 3)
        assert make_norm("group", channels)(x).shape == x.shape
