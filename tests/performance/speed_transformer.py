"""The transformer next to GPT-2 of the package transformers, and its sampling next to a plain loop of full passes.

Both sides have as many layers, heads, units and tokens, the same dropout and the same optimiser; a step is a forward
pass, the cross-entropy, a backward pass and AdamW on 32 digits. Samples are 500 digits from the same uniforms.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gentune.bench._torchvision import make_importable
from gentune.bench.data import load
from gentune.models.autoregressive.transformer import Transformer
from gentune.models.nets.categorical import draw

Call = Callable[[], object]
_BATCH, _SAMPLES = 32, 500
_WIDTH, _LAYERS, _HEADS, _DROPOUT = 64, 3, 4, 0.1


def steps() -> tuple[Call, Call]:
    """A training step of ours and of theirs."""
    make_importable()
    from transformers import GPT2Config, GPT2LMHeadModel

    data = load("digits")
    batch = data.splits["train"][:_BATCH]
    ours = Transformer(data.spec, width=_WIDTH, layers=_LAYERS, heads=_HEADS, dropout=_DROPOUT)
    k, levels = ours.to_tokens(batch.x), ours.tokens
    config = GPT2Config(
        vocab_size=levels + data.spec.classes,  # a label heads the sequence
        n_positions=k.shape[1],
        n_embd=_WIDTH,
        n_layer=_LAYERS,
        n_head=_HEADS,
        resid_pdrop=_DROPOUT,
        embd_pdrop=_DROPOUT,
        attn_pdrop=0.0,
        use_cache=False,
    )
    theirs = GPT2LMHeadModel(config)
    assert batch.labels is not None
    headed = torch.cat([levels + batch.labels[:, None], k[:, :-1]], dim=1)

    def their_loss() -> Tensor:
        logits = theirs(input_ids=headed).logits[..., :levels]
        return F.cross_entropy(logits.flatten(0, 1), k.flatten())

    return _step(ours, lambda: ours.loss(batch, torch.Generator()).total), _step(theirs, their_loss)


def samples() -> tuple[Call, Call]:
    """500 digits with kept keys and values, and by a full pass for every token."""
    spec = load("digits").spec
    model = Transformer(spec, width=_WIDTH, layers=_LAYERS, heads=_HEADS).eval()
    labels = torch.arange(_SAMPLES) % spec.classes

    def cached() -> Tensor:
        return model.sample(_SAMPLES, condition=labels, generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def plain() -> Tensor:
        uniforms = torch.rand(_SAMPLES, model.length, generator=torch.Generator().manual_seed(0))
        k = torch.zeros(_SAMPLES, 0, dtype=torch.int64)
        for t in range(model.length):
            k = torch.cat([k, draw(model.network(k, labels)[:, -1], uniforms[:, t])[:, None]], dim=1)
        return model.from_tokens(k)

    return cached, plain


def _step(model: nn.Module, loss: Callable[[], Tensor]) -> Call:
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3)
    model.train()

    def step() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        optimiser.step()
        return value

    return step
