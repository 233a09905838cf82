"""Text to image: attention to tokens against torch's own, texts that are left out, and what padding may not change."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gentune.models import Batch, ConditionSpec, DataSpec
from gentune.models.diffusion.text_to_image import TextNetwork, TextToImage
from gentune.models.nets.text_transformer import TextTransformer
from gentune.models.nets.unet import CrossAttention, Tokens, UNet

TEXTS = ConditionSpec("text", (5,), vocabulary=9, padding=0)
IMAGES = DataSpec("toy", "image", (1, 8, 8), levels=256, condition=TEXTS)
ASKED = torch.tensor([[3, 4, 5, 0, 0], [6, 7, 0, 0, 0], [8, 1, 2, 3, 4]])


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _model(**settings: object) -> TextToImage:
    """One whose last layers are not zero."""
    torch.manual_seed(0)
    small = {"width": 8, "text_width": 8, "text_layers": 1, "timesteps": 20} | settings
    model = TextToImage(IMAGES, **small)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@torch.no_grad()
def test_attention_to_tokens_is_that_of_torch() -> None:
    torch.manual_seed(0)
    layer = CrossAttention(64, 12)
    nn.init.normal_(layer.out.weight)
    oracle = nn.MultiheadAttention(64, layer.heads, kdim=12, vdim=12, batch_first=True)
    key, value = layer.key_value.weight.chunk(2)
    projections = zip(
        (oracle.q_proj_weight, oracle.k_proj_weight, oracle.v_proj_weight),
        (layer.query.weight[..., 0, 0], key, value),
        strict=True,
    )
    for wanted, given in projections:
        assert wanted is not None
        wanted.copy_(given)
    oracle.in_proj_bias.copy_(torch.cat((layer.query.bias, layer.key_value.bias)))  # type: ignore[arg-type]
    oracle.out_proj.weight.copy_(layer.out.weight[..., 0, 0])
    x, features = torch.randn(2, 64, 3, 4), torch.randn(2, 5, 12)
    counts = torch.tensor([[True] * 5, [True, True, False, False, False]])
    tokens = layer.token_norm(features)
    query = layer.norm(x).flatten(2).transpose(1, 2)
    mixed, _ = oracle(query, tokens, tokens, key_padding_mask=~counts)
    expected = x + mixed.transpose(1, 2).reshape(x.shape)
    assert torch.allclose(layer(x, Tokens(features, counts)), expected, atol=1e-5)


@torch.no_grad()
def test_a_text_is_read_as_torch_reads_it() -> None:
    torch.manual_seed(0)
    reader = TextTransformer(9, 5, width=8, layers=1, padding=0).eval()
    block = reader.blocks[0]
    oracle = nn.TransformerEncoderLayer(8, 4, 32, 0.0, "gelu", batch_first=True, norm_first=True).eval()
    names = {
        "self_attn.in_proj_weight": "to_heads.weight",
        "self_attn.in_proj_bias": "to_heads.bias",
        "self_attn.out_proj.weight": "from_heads.weight",
        "self_attn.out_proj.bias": "from_heads.bias",
        "linear1.weight": "perceptron.0.weight",
        "linear1.bias": "perceptron.0.bias",
        "linear2.weight": "perceptron.2.weight",
        "linear2.bias": "perceptron.2.bias",
    }
    own = block.state_dict()
    oracle.load_state_dict(
        {
            name: own[names.get(name, name.replace("norm1", "norm_1").replace("norm2", "norm_2"))]
            for name in oracle.state_dict()
        }
    )
    h = reader.embedding(ASKED) + reader.position
    counts = reader.counts(ASKED)
    expected = reader.norm(oracle(h, src_key_padding_mask=~counts))
    assert torch.allclose(reader(ASKED)[counts], expected[counts], atol=1e-5)


@torch.no_grad()
def test_padding_says_nothing_and_every_word_counts() -> None:
    network = _model().network
    x, t = torch.randn(1, 1, 8, 8, generator=_generator()), torch.full((1,), 0.5)
    longer = TextNetwork(
        DataSpec(
            "longer", "image", (1, 8, 8), levels=256, condition=ConditionSpec("text", (7,), vocabulary=9, padding=0)
        ),
        width=8,
        depth=1,
        dropout=0.0,
        text_width=8,
        text_layers=1,
    ).eval()
    state = network.state_dict()
    state["reader.position"] = torch.cat((state["reader.position"], torch.randn(2, 8)))
    longer.load_state_dict(state)
    text = ASKED[:1]
    padded = torch.cat((text, torch.zeros(1, 2, dtype=torch.int64)), dim=1)
    assert torch.allclose(network(x, t, text), longer(x, t, padded), atol=1e-5)
    for place in range(3):
        other = text.clone()
        other[0, place] = 8
        assert not torch.allclose(network(x, t, text), network(x, t, other), atol=1e-4)
    swapped = text[:, [1, 0, 2, 3, 4]]
    assert not torch.allclose(network(x, t, text), network(x, t, swapped), atol=1e-4)


def test_a_text_without_words_is_read() -> None:
    empty = torch.zeros(2, 5, dtype=torch.int64)
    x = _model().sample(2, condition=empty, generator=_generator(), steps=2)
    assert torch.isfinite(x).all()


def test_guidance_scale_0_leaves_the_text_out_and_1_is_the_conditional_model() -> None:
    model = _model()

    def sample(scale: float, texts: Tensor) -> Tensor:
        return model.sample(3, condition=texts, generator=_generator(), steps=4, guidance_scale=scale)

    others = ASKED.roll(1, dims=0)
    assert torch.equal(sample(0.0, ASKED), sample(0.0, others))
    assert not torch.equal(sample(1.0, ASKED), sample(1.0, others))
    assert (sample(1.0 + 1e-6, ASKED) - sample(1.0, ASKED)).abs().max().item() <= 2 / 255 + 1e-6


def test_texts_are_left_out_whole_and_as_often_as_asked() -> None:
    model = _model(unconditional_probability=0.3)
    texts = ASKED.repeat(100, 1)
    dropped = model.network.dropped(texts, 0.3, _generator())
    out = (dropped == model.network.none).all(1)
    assert torch.equal(dropped[~out], texts[~out])
    assert out.float().mean().item() == pytest.approx(0.3, abs=0.08)
    x = IMAGES.to_lattice(torch.rand(3, 1, 8, 8, generator=_generator()) * 2 - 1)
    model.loss(Batch(x, ASKED), _generator()).total.backward()
    assert model.network.get_submodule("reader").embedding.weight.grad is not None  # type: ignore[union-attr]


def test_a_network_without_context_has_no_attention_to_tokens() -> None:
    network = UNet((1, 16, 16), width=8, depth=1, dropout=0.0, embedding=32)
    assert not list(network.cross) and not any("cross" in name for name in network.state_dict())
    attending = UNet((1, 16, 16), width=8, depth=1, dropout=0.0, embedding=32, context=4)
    assert len(attending.cross) == 3  # at half and, on the way down and up, at a quarter of the sides


def test_other_data_and_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="requires text conditions, those of data 'toy' are label"):
        TextToImage(DataSpec("toy", "image", (1, 8, 8), levels=4, condition=ConditionSpec("label", classes=2)))
    with pytest.raises(ValueError, match=r"shape \(2, 5\), got \(2, 4\)"):
        _model().sample(2, condition=torch.zeros(2, 4, dtype=torch.int64), generator=_generator())
