"""LSTM: a recurrent network that reads a sequence token by token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data_spec import DataSpec
from .tokens import Reading, TokenNetwork


class LSTM(TokenNetwork):
    """p(k_t | k_1 ... k_(t-1), y) = softmax(W h_t), h_t the state of stacked LSTM layers after the tokens before k_t.

    The first input is an embedding of the label y, the others of the tokens. In sampling each step goes on from the
    state of the last, so that a token costs the same wherever it stands.

    layers: of the network. width: of each layer and of the embeddings. dropout: of the embeddings, between layers and
    before the softmax (arXiv:1409.2329, not within the recurrence). The other parameters are `TokenNetwork`'s.

    References: Hochreiter and Schmidhuber, doi:10.1162/neco.1997.9.8.1735; Graves, "Generating sequences with
        recurrent neural networks", arXiv:1308.0850.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 5e-3,
        layers: int = 1,
        width: int = 128,
        dropout: float = 0.1,
        weight_decay: float = 0.01,
        warmup: int = 20,
    ) -> None:
        if data.kind != "sequence":
            raise ValueError(f"lstm takes sequence data, data {data.name!r} is {data.kind}")
        super().__init__(data, "lstm", learning_rate=learning_rate, warmup=warmup, weight_decay=weight_decay)
        self.start = nn.Embedding(max(1, self.classes), width)
        self.embedding = nn.Embedding(self.tokens, width)
        self.recurrent = nn.LSTM(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, self.tokens)
        with torch.no_grad():
            for name, bias in self.recurrent.named_parameters():
                if name.startswith("bias_ih"):  # an open forget gate: Jozefowicz et al., PMLR 37 (2015), section 2.2
                    bias[width : 2 * width] = 1.0

    def logits(self, k: Tensor, labels: Tensor | None) -> Tensor:
        h = torch.cat([self._first(len(k), labels), self.embedding(k[:, :-1])], dim=1)
        h, _ = self.recurrent(self.dropout(h))
        logits: Tensor = self.head(self.dropout(h))
        return logits

    def reading(self, n: int, labels: Tensor | None) -> Reading:
        state: tuple[Tensor, Tensor] | None = None

        def read(latest: Tensor | None) -> Tensor:
            nonlocal state
            h = self._first(n, labels) if latest is None else self.embedding(latest)[:, None]
            h, state = self.recurrent(self.dropout(h), state)
            logits: Tensor = self.head(self.dropout(h[:, 0])).float()
            return logits

        return read

    def _first(self, n: int, labels: Tensor | None) -> Tensor:
        """What stands before the first token, (n, 1, width)."""
        if labels is None:
            labels = torch.zeros(n, dtype=torch.int64, device=self.head.weight.device)
        first: Tensor = self.start(labels)[:, None]
        return first
