"""Small networks of every family that users of torch build, with inputs: the zoo.

`ZOO[name]()` returns a module and the arguments of one call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

Made = tuple[nn.Module, Any]
ZOO: dict[str, Callable[[], Made]] = {}


def network(name: str) -> Callable[[Callable[[], Made]], Callable[[], Made]]:
    """Add a function that makes a network and its inputs to the zoo."""

    def add(make: Callable[[], Made]) -> Callable[[], Made]:
        ZOO[name] = make
        return make

    return add


class Wrapped(nn.Module):
    """Layers by name, and a forward that is given as a function."""

    def __init__(self, forward: Callable[..., Any], **layers: nn.Module | Tensor) -> None:
        super().__init__()
        for name, layer in layers.items():
            if isinstance(layer, nn.Parameter | nn.Module):
                setattr(self, name, layer)
            else:
                self.register_buffer(name, layer)
        self._function = forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the layers."""
        return self._function(self, *args, **kwargs)


def image(n: int = 3, channels: int = 3, size: int = 16) -> Tensor:
    return torch.randn(n, channels, size, size)


def tokens(n: int = 3, length: int = 6, vocabulary: int = 20) -> Tensor:
    return torch.randint(0, vocabulary, (n, length))


def conv(a: int, b: int, k: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(a, b, k, padding=k // 2, **options)


def head(width: int, classes: int = 5) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


# -- plain ---------------------------------------------------------------------------------------


@network("mlp")
def _mlp() -> Made:
    layers = (nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.GELU(), nn.Linear(12, 3))
    return nn.Sequential(*layers), torch.randn(3, 6)


@network("mlp batch norm")
def _mlp_norm() -> Made:
    layers = (nn.Linear(6, 16), nn.BatchNorm1d(16), nn.SiLU(), nn.Dropout(0.2), nn.Linear(16, 3))
    return nn.Sequential(*layers), torch.randn(3, 6)


@network("prelu and sigmoid")
def _prelu() -> Made:
    layers = (nn.Linear(6, 16), nn.PReLU(16), nn.Linear(16, 12), nn.Sigmoid(), nn.Linear(12, 3))
    return nn.Sequential(*layers), torch.randn(3, 6)


@network("highway")
def _highway() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = torch.tanh(m.first(x))
        gate = torch.sigmoid(m.gate(h))
        return m.out(gate * torch.relu(m.body(h)) + (1 - gate) * h)

    return Wrapped(
        forward, first=nn.Linear(6, 12), gate=nn.Linear(12, 12), body=nn.Linear(12, 12),
        out=nn.Linear(12, 2),
    ), torch.randn(3, 6)  # fmt: skip


@network("maxout")
def _maxout() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.out(m.first(x).unflatten(-1, (8, 2)).amax(-1))

    return Wrapped(forward, first=nn.Linear(6, 16), out=nn.Linear(8, 3)), torch.randn(3, 6)


@network("sine field")
def _sine() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = torch.sin(30 * m.a(x))
        h = torch.sin(m.b(h))
        return m.d(torch.cat([torch.sin(m.c(torch.cat([h, x], -1))), x], -1))

    return Wrapped(
        forward, a=nn.Linear(3, 16), b=nn.Linear(16, 16), c=nn.Linear(19, 12), d=nn.Linear(15, 1)
    ), torch.randn(4, 3)


@network("autoencoder, tied")
def _tied() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return F.linear(torch.relu(m.encoder(x)), m.encoder.weight.t(), m.bias)

    return Wrapped(
        forward, encoder=nn.Linear(8, 12), bias=nn.Parameter(torch.randn(8))
    ), torch.randn(3, 8)


@network("variational autoencoder")
def _vae() -> Made:
    def forward(m: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = torch.relu(m.encode(x))
        mean, log_variance = m.mean(h), m.scale(h)
        return m.decode(mean), mean, log_variance

    decode = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 8))
    return Wrapped(
        forward, encode=nn.Linear(8, 14), mean=nn.Linear(14, 4), scale=nn.Linear(14, 4),
        decode=decode,
    ), torch.randn(3, 8)  # fmt: skip


@network("residual mlp")
def _residual_mlp() -> Made:
    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.b(F.gelu(self.a(x)))

    return nn.Sequential(nn.Linear(6, 10), Block(10), Block(10), nn.Linear(10, 2)), torch.randn(
        3, 6
    )


@network("bilinear")
def _bilinear() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.c(torch.relu(m.a(x)) * m.b(x))

    return Wrapped(
        forward, a=nn.Linear(6, 12), b=nn.Linear(6, 12), c=nn.Linear(12, 3)
    ), torch.randn(3, 6)


@network("mixture of experts")
def _moe() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = torch.relu(m.first(x))
        gate = torch.softmax(m.gate(h), -1)
        experts = torch.stack([expert(h) for expert in m.experts], 1)
        return m.out((gate[..., None] * experts).sum(1))

    def expert() -> nn.Module:
        return nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 8))

    return Wrapped(
        forward, first=nn.Linear(6, 12), gate=nn.Linear(12, 3),
        experts=nn.ModuleList(expert() for _ in range(3)), out=nn.Linear(8, 2),
    ), torch.randn(3, 6)  # fmt: skip


@network("top-1 experts with gather")
def _sparse_moe() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = torch.relu(m.first(x))
        best = m.gate(h).argmax(-1)
        all_of_them = torch.einsum("bi,eio->beo", h, m.weights)
        index = best[:, None, None].expand(-1, 1, all_of_them.shape[-1])
        return m.out(torch.relu(all_of_them.gather(1, index)[:, 0]))

    return Wrapped(
        forward, first=nn.Linear(6, 12), gate=nn.Linear(12, 3),
        weights=nn.Parameter(torch.randn(3, 12, 10)), out=nn.Linear(10, 2),
    ), torch.randn(3, 6)  # fmt: skip


@network("deep sets")
def _deep_sets() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.rho(m.phi(x).sum(1))

    phi = nn.Sequential(nn.Linear(3, 12), nn.ReLU(), nn.Linear(12, 10))
    rho = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 1))
    return Wrapped(forward, phi=phi, rho=rho), torch.randn(3, 5, 3)


@network("siamese, cosine")
def _siamese() -> Made:
    def forward(m: Any, x: Tensor, y: Tensor) -> Tensor:
        a, b = F.normalize(m.tower(x), dim=-1), F.normalize(m.tower(y), dim=-1)
        return (a * b).sum(-1)

    tower = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8))
    return Wrapped(forward, tower=tower), (torch.randn(3, 6), torch.randn(3, 6))


@network("two towers, dot product")
def _two_towers() -> Made:
    def forward(m: Any, user: Tensor, item: Tensor) -> Tensor:
        return m.users(user) @ m.items(item).T

    def tower() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8))

    return Wrapped(forward, users=tower(), items=tower()), (torch.randn(3, 6), torch.randn(3, 6))


@network("dlrm")
def _dlrm() -> Made:
    def forward(m: Any, dense: Tensor, sparse: Tensor) -> Tensor:
        x = m.bottom(dense)
        vectors = torch.stack([x] + [t(sparse[:, i]) for i, t in enumerate(m.tables)], 1)
        dots = torch.bmm(vectors, vectors.transpose(1, 2))
        i, j = torch.tril_indices(4, 4, offset=-1)
        return m.top(torch.cat([x, dots[:, i, j]], 1))

    tables = nn.ModuleList(nn.Embedding(9, 8) for _ in range(3))
    bottom = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU())
    top = nn.Sequential(nn.Linear(14, 10), nn.ReLU(), nn.Linear(10, 1))
    return Wrapped(forward, tables=tables, bottom=bottom, top=top), (
        torch.randn(3, 5),
        torch.randint(0, 9, (3, 3)),
    )


@network("wide and deep")
def _wide_deep() -> Made:
    def forward(m: Any, ids: Tensor, x: Tensor) -> Tensor:
        deep = m.deep(torch.cat([m.table(ids).flatten(1), x], 1))
        return deep + m.wide(x)

    deep = nn.Sequential(nn.Linear(4 * 6 + 5, 16), nn.ReLU(), nn.Linear(16, 1))
    return Wrapped(forward, table=nn.Embedding(20, 6), deep=deep, wide=nn.Linear(5, 1)), (
        tokens(3, 4),
        torch.randn(3, 5),
    )


@network("bag of words")
def _bag() -> Made:
    def forward(m: Any, ids: Tensor) -> Tensor:
        return m.out(torch.relu(m.hidden(m.table(ids))))

    return Wrapped(
        forward, table=nn.EmbeddingBag(20, 10, mode="mean"), hidden=nn.Linear(10, 8),
        out=nn.Linear(8, 2),
    ), tokens()  # fmt: skip


@network("dueling q")
def _dueling() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = torch.relu(m.trunk(x))
        advantage = m.advantage(h)
        return m.value(h) + advantage - advantage.mean(-1, keepdim=True)

    def branch(n: int) -> nn.Module:
        return nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, n))

    return Wrapped(
        forward, trunk=nn.Linear(4, 12), advantage=branch(3), value=branch(1)
    ), torch.randn(3, 4)


@network("film")
def _film() -> Made:
    def forward(m: Any, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = m.film(condition).chunk(2, -1)
        return m.out(torch.relu(m.body(x) * (1 + scale) + shift))

    return Wrapped(forward, body=nn.Linear(6, 12), film=nn.Linear(4, 24), out=nn.Linear(12, 2)), (
        torch.randn(3, 6),
        torch.randn(3, 4),
    )


@network("weight norm")
def _weight_norm() -> Made:
    norm = nn.utils.parametrizations.weight_norm
    return nn.Sequential(
        norm(nn.Linear(6, 12)), nn.ReLU(), norm(nn.Linear(12, 10)), nn.ReLU(), nn.Linear(10, 2)
    ), torch.randn(3, 6)


@network("bfloat16")
def _bfloat16() -> Made:
    layers = (nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    return nn.Sequential(*layers).bfloat16(), torch.randn(3, 6).bfloat16()


@network("inputs by name, outputs in a dict")
def _by_name() -> Made:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(6, 12), nn.Linear(12, 3), nn.Linear(12, 1)

        def forward(self, *, x: Tensor, scale: Tensor | None = None) -> dict[str, Tensor]:
            h = torch.relu(self.a(x if scale is None else x * scale))
            return {"logits": self.b(h), "value": self.c(h)}

    return Named(), {"x": torch.randn(3, 6)}


@network("dictionary learning, unrolled")
def _unrolled() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        z = F.softshrink(x @ m.dictionary, 0.1)
        for _ in range(3):
            z = F.softshrink(z - 0.1 * (z @ m.dictionary.T - x) @ m.dictionary, 0.1)
        return z @ m.dictionary.T

    return Wrapped(forward, dictionary=nn.Parameter(torch.randn(6, 14) / 4)), torch.randn(3, 6)


# -- convolutions --------------------------------------------------------------------------------


@network("lenet")
def _lenet() -> Made:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 10, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(40, 12), nn.ReLU(), nn.Linear(12, 5),
    ), image(3, 1)  # fmt: skip


@network("vgg")
def _vgg() -> Made:
    def block(a: int, b: int) -> list[nn.Module]:
        return [conv(a, b, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(3, 8), *block(8, 12), *block(12, 16), head(16)), image()


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, a: int, b: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.norm1 = conv(a, b, stride=stride, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.norm2 = conv(b, b, bias=False), nn.BatchNorm2d(b)
        self.short = nn.Conv2d(a, b, 1, stride) if a != b or stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers."""
        h = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        return torch.relu(h + self.short(x))


@network("resnet")
def _resnet() -> Made:
    blocks = (ResidualBlock(8, 8), ResidualBlock(8, 12, 2), ResidualBlock(12, 12))
    return nn.Sequential(conv(3, 8), nn.ReLU(), *blocks, head(12)), image()


@network("resnext")
def _resnext() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        return m.head(x + m.expand(torch.relu(m.grouped(torch.relu(m.reduce(x))))))

    return Wrapped(
        forward, stem=conv(3, 12), reduce=conv(12, 8, 1), grouped=conv(8, 8, groups=4),
        expand=conv(8, 12, 1), head=head(12),
    ), image()  # fmt: skip


@network("mobilenet")
def _mobilenet() -> Made:
    class Inverted(nn.Module):
        def __init__(self, a: int, b: int) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv2d(a, 3 * a, 1), nn.BatchNorm2d(3 * a), nn.ReLU6(),
                conv(3 * a, 3 * a, groups=3 * a), nn.BatchNorm2d(3 * a), nn.ReLU6(),
                nn.Conv2d(3 * a, b, 1), nn.BatchNorm2d(b),
            )  # fmt: skip
            self.same = a == b

        def forward(self, x: Tensor) -> Tensor:
            return x + self.layers(x) if self.same else self.layers(x)

    return nn.Sequential(conv(3, 8), Inverted(8, 8), Inverted(8, 10), head(10)), image()


@network("depthwise with multiplier")
def _multiplier() -> Made:
    return nn.Sequential(
        conv(3, 6), nn.ReLU(), conv(6, 12, groups=6), nn.ReLU(), nn.Conv2d(12, 8, 1), head(8)
    ), image()


@network("squeeze and excite")
def _squeeze() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = torch.relu(m.stem(x))
        gate = torch.sigmoid(m.up(torch.relu(m.down(x.mean((2, 3), keepdim=True)))))
        return m.head(m.last(x * gate))

    return Wrapped(
        forward, stem=conv(3, 12), down=nn.Conv2d(12, 4, 1), up=nn.Conv2d(4, 12, 1),
        last=conv(12, 8), head=head(8),
    ), image()  # fmt: skip


@network("densenet")
def _densenet() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        features = [m.stem(x)]
        for layer in m.layers:
            features.append(torch.relu(layer(torch.cat(features, 1))))
        return m.head(torch.cat(features, 1))

    layers = nn.ModuleList(conv(8 + 4 * i, 4) for i in range(3))
    return Wrapped(forward, stem=conv(3, 8), layers=layers, head=head(20)), image()


@network("inception")
def _inception() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = torch.relu(m.stem(x))
        pooled = F.max_pool2d(x, 3, 1, 1)
        parts = [m.one(x), m.three(torch.relu(m.reduce(x))), m.pool(pooled)]
        return m.head(torch.relu(torch.cat(parts, 1)))

    return Wrapped(
        forward, stem=conv(3, 8), one=nn.Conv2d(8, 4, 1), reduce=nn.Conv2d(8, 6, 1),
        three=conv(6, 8), pool=nn.Conv2d(8, 4, 1), head=head(16),
    ), image()  # fmt: skip


@network("u-net")
def _unet() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        a = torch.relu(m.down1(x))
        b = torch.relu(m.down2(F.max_pool2d(a, 2)))
        c = torch.relu(m.middle(F.max_pool2d(b, 2)))
        d = torch.relu(m.up2(torch.cat([m.grow2(c), b], 1)))
        return m.out(torch.relu(m.up1(torch.cat([m.grow1(d), a], 1))))

    return Wrapped(
        forward, down1=conv(3, 6), down2=conv(6, 8), middle=conv(8, 12),
        grow2=nn.ConvTranspose2d(12, 8, 2, 2), up2=conv(16, 8),
        grow1=nn.ConvTranspose2d(8, 6, 2, 2), up1=conv(12, 6), out=nn.Conv2d(6, 2, 1),
    ), image()  # fmt: skip


@network("feature pyramid")
def _pyramid() -> Made:
    def forward(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        a = torch.relu(m.a(x))
        b = torch.relu(m.b(a))
        top = m.lateral_b(b)
        low = m.lateral_a(a) + F.interpolate(top, scale_factor=2, mode="nearest")
        return m.out(low), m.out(top)

    return Wrapped(
        forward, a=conv(3, 8, stride=2), b=conv(8, 12, stride=2), lateral_a=nn.Conv2d(8, 8, 1),
        lateral_b=nn.Conv2d(12, 8, 1), out=conv(8, 4),
    ), image()  # fmt: skip


@network("group norm")
def _group_norm() -> Made:
    return nn.Sequential(
        conv(3, 12), nn.GroupNorm(4, 12), nn.SiLU(), conv(12, 12), nn.GroupNorm(3, 12), nn.SiLU(),
        head(12),
    ), image()  # fmt: skip


@network("instance norm")
def _instance_norm() -> Made:
    return nn.Sequential(
        conv(3, 12), nn.InstanceNorm2d(12, affine=True), nn.ReLU(), conv(12, 8),
        nn.InstanceNorm2d(8), nn.ReLU(), head(8),
    ), image()  # fmt: skip


@network("convnext")
def _convnext() -> Made:
    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.depth = conv(width, width, 7, groups=width)
            self.norm = nn.LayerNorm(width)
            self.a, self.b = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.gamma = nn.Parameter(torch.ones(width))

        def forward(self, x: Tensor) -> Tensor:
            h = self.norm(self.depth(x).permute(0, 2, 3, 1))
            h = self.gamma * self.b(F.gelu(self.a(h)))
            return x + h.permute(0, 3, 1, 2)

    return nn.Sequential(conv(3, 8, stride=2), Block(8), Block(8), head(8)), image()


@network("shuffle units")
def _shuffle() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        kept, worked = x.chunk(2, 1)
        x = torch.cat([kept, m.two(torch.relu(m.depth(m.one(worked))))], 1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return m.head(x)

    return Wrapped(
        forward, stem=conv(3, 12), one=nn.Conv2d(6, 6, 1), depth=conv(6, 6, groups=6),
        two=nn.Conv2d(6, 6, 1), head=head(12),
    ), image()  # fmt: skip


@network("super resolution")
def _super() -> Made:
    return nn.Sequential(
        conv(1, 8), nn.ReLU(), conv(8, 8), nn.ReLU(), conv(8, 4 * 6), nn.PixelShuffle(2),
        nn.ReLU(), conv(6, 1),
    ), image(3, 1, 8)  # fmt: skip


@network("generator")
def _generator() -> Made:
    return nn.Sequential(
        nn.Linear(6, 8 * 4 * 4), nn.Unflatten(1, (8, 4, 4)), nn.BatchNorm2d(8), nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 4, 2, 1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.ConvTranspose2d(6, 1, 4, 2, 1), nn.Tanh(),
    ), torch.randn(3, 6)  # fmt: skip


@network("transposed, with groups")
def _transposed_groups() -> Made:
    return nn.Sequential(
        conv(3, 8), nn.ReLU(), nn.ConvTranspose2d(8, 12, 2, 2, groups=4), nn.ReLU(), head(12)
    ), image()


@network("temporal convolutions")
def _temporal() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        for filters, gates, back in zip(m.filters, m.gates, m.back, strict=True):
            x = x + back(torch.tanh(filters(x)) * torch.sigmoid(gates(x)))
        return m.out(x.mean(-1))

    def dilated() -> nn.ModuleList:
        return nn.ModuleList(nn.Conv1d(8, 10, 3, padding=d, dilation=d) for d in (1, 2))

    return Wrapped(
        forward, stem=nn.Conv1d(2, 8, 3, padding=1), filters=dilated(), gates=dilated(),
        back=nn.ModuleList(nn.Conv1d(10, 8, 1) for _ in range(2)), out=nn.Linear(8, 3),
    ), torch.randn(3, 2, 12)  # fmt: skip


@network("video")
def _video() -> Made:
    return nn.Sequential(
        nn.Conv3d(1, 6, 3, padding=1), nn.BatchNorm3d(6), nn.ReLU(), nn.MaxPool3d(2),
        nn.Conv3d(6, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
        nn.Linear(8, 3),
    ), torch.randn(3, 1, 4, 8, 8)  # fmt: skip


@network("spatial attention gan")
def _self_attention_gan() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = torch.relu(m.stem(x))
        q, k, v = m.q(x).flatten(2), m.k(x).flatten(2), m.v(x).flatten(2)
        weights = torch.softmax(q.transpose(1, 2) @ k, -1)
        out = (v @ weights.transpose(1, 2)).view_as(x)
        return m.head(x + m.gamma * out)

    return Wrapped(
        forward, stem=conv(3, 8, stride=2), q=nn.Conv2d(8, 4, 1), k=nn.Conv2d(8, 4, 1),
        v=nn.Conv2d(8, 8, 1), gamma=nn.Parameter(torch.ones(1)), head=head(8),
    ), image(3, 3, 8)  # fmt: skip


@network("focus and concat")
def _yolo() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = torch.cat(
            [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1
        )
        x = F.silu(m.stem(x))
        a, b = m.split(x).split((6, 6), 1)
        c = b + m.inner2(F.silu(m.inner1(b)))
        return m.detect(torch.cat([a, b, c], 1)).permute(0, 2, 3, 1)

    return Wrapped(
        forward, stem=conv(12, 10), split=nn.Conv2d(10, 12, 1), inner1=conv(6, 6),
        inner2=conv(6, 6), detect=nn.Conv2d(18, 7, 1),
    ), image()  # fmt: skip


@network("padding with values")
def _padded() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = F.pad(torch.relu(m.a(x)), (1, 1, 1, 1), mode="reflect")
        x = F.pad(torch.relu(m.b(x)), (1, 0, 1, 0), value=0.5)
        return m.head(m.c(x))

    return Wrapped(forward, a=conv(3, 8), b=conv(8, 8), c=conv(8, 6), head=head(6)), image()


@network("ghost")
def _ghost() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        first = torch.relu(m.primary(m.stem(x)))
        return m.head(torch.cat([first, torch.relu(m.cheap(first))], 1))

    return Wrapped(
        forward, stem=conv(3, 8), primary=nn.Conv2d(8, 6, 1), cheap=conv(6, 6, groups=6),
        head=head(12),
    ), image()  # fmt: skip


@network("res2net")
def _res2net() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = torch.relu(m.stem(x))
        parts = list(x.chunk(3, 1))
        for i in (1, 2):
            parts[i] = torch.relu(m.convs[i - 1](parts[i] + parts[i - 1]))
        return m.head(x + m.out(torch.cat(parts, 1)))

    convs = nn.ModuleList(conv(4, 4) for _ in range(2))
    return Wrapped(
        forward, stem=conv(3, 12), convs=convs, out=nn.Conv2d(12, 12, 1), head=head(12)
    ), image()


# -- sequences -----------------------------------------------------------------------------------


@network("lstm")
def _lstm() -> Made:
    def forward(m: Any, ids: Tensor) -> Tensor:
        out, _ = m.lstm(m.table(ids))
        return m.out(out[:, -1])

    return Wrapped(
        forward, table=nn.Embedding(20, 8), lstm=nn.LSTM(8, 10, batch_first=True),
        out=nn.Linear(10, 3),
    ), tokens()  # fmt: skip


@network("lstm, two layers, both directions")
def _bilstm() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        out, _ = m.lstm(x)
        return m.out(out)

    lstm = nn.LSTM(5, 8, 2, batch_first=True, bidirectional=True)
    return Wrapped(forward, lstm=lstm, out=nn.Linear(16, 3)), torch.randn(3, 4, 5)


@network("gru")
def _gru() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        out, _ = m.gru(m.inner(x))
        return m.out(out.mean(1))

    return Wrapped(
        forward, inner=nn.Linear(5, 8), gru=nn.GRU(8, 10, batch_first=True), out=nn.Linear(10, 3)
    ), torch.randn(3, 4, 5)


@network("recurrent cell by hand")
def _cell() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        state = x.new_zeros(x.shape[0], 10)
        for t in range(x.shape[1]):
            state = torch.tanh(m.inside(x[:, t]) + m.again(state))
        return m.out(state)

    return Wrapped(
        forward, inside=nn.Linear(5, 10), again=nn.Linear(10, 10), out=nn.Linear(10, 3)
    ), torch.randn(3, 4, 5)


@network("conv and lstm")
def _conv_lstm() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = torch.relu(m.conv(x)).transpose(1, 2)
        return m.out(m.lstm(h)[0][:, -1])

    return Wrapped(
        forward, conv=nn.Conv1d(2, 8, 3), lstm=nn.LSTM(8, 6, batch_first=True), out=nn.Linear(6, 2)
    ), torch.randn(3, 2, 8)


class Attention(nn.Module):
    """Attention with separate projections."""

    def __init__(self, width: int, heads: int, context: int | None = None) -> None:
        super().__init__()
        self.num_heads, self.head_dim = heads, width // heads
        self.q = nn.Linear(width, width)
        self.k, self.v = nn.Linear(context or width, width), nn.Linear(context or width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Run the layers."""
        context = x if context is None else context

        def heads(z: Tensor) -> Tensor:
            return z.view(z.shape[0], z.shape[1], self.num_heads, -1).transpose(1, 2)

        q, k, v = heads(self.q(x)), heads(self.k(context)), heads(self.v(context))
        y = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.out(y.transpose(1, 2).flatten(2))

    scale = 0.5


class Encoder(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


@network("transformer")
def _transformer() -> Made:
    def forward(m: Any, ids: Tensor) -> Tensor:
        return m.out(m.layers(m.table(ids) + m.places))

    return Wrapped(
        forward, table=nn.Embedding(20, 12), places=nn.Parameter(torch.randn(6, 12)),
        layers=nn.Sequential(Encoder(12, 4), Encoder(12, 4)), out=nn.Linear(12, 20),
    ), tokens()  # fmt: skip


@network("vision transformer")
def _vit() -> Made:
    class Fused(nn.Module):
        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.num_heads, self.head_dim, self.attn_dim = heads, width // heads, width
            self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x: Tensor) -> Tensor:
            b, n, _ = x.shape
            qkv = self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            weights = torch.softmax((q * 0.5) @ k.transpose(-2, -1), -1)
            return self.proj((weights @ v).transpose(1, 2).reshape(b, n, self.attn_dim))

    class Layer(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.norm1, self.attention = nn.LayerNorm(width), Fused(width, 3)
            self.norm2, self.a = nn.LayerNorm(width), nn.Linear(width, 24)
            self.b = nn.Linear(24, width)

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.attention(self.norm1(x))
            return x + self.b(F.gelu(self.a(self.norm2(x))))

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([m.token.expand(x.shape[0], -1, -1), x], 1) + m.places
        return m.head(m.norm(m.layers(x))[:, 0])

    return Wrapped(
        forward, patch=nn.Conv2d(3, 12, 8, 8), token=nn.Parameter(torch.randn(1, 1, 12)),
        places=nn.Parameter(torch.randn(1, 5, 12)), layers=nn.Sequential(Layer(12), Layer(12)),
        norm=nn.LayerNorm(12), head=nn.Linear(12, 4),
    ), image()  # fmt: skip


class Rms(nn.Module):
    """Root mean square normalisation, in float32 as in large language models."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers."""
        wide = x.to(torch.float32)
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(
            x.dtype
        )


@network("llama, grouped queries")
def _llama() -> Made:
    class Grouped(nn.Module):
        def __init__(self, width: int, heads: int, kv: int, dim: int) -> None:
            super().__init__()
            self.head_dim, self.num_key_value_groups = dim, heads // kv
            self.scaling = dim**-0.5
            self.q = nn.Linear(width, heads * dim, bias=False)
            self.k = nn.Linear(width, kv * dim, bias=False)
            self.v = nn.Linear(width, kv * dim, bias=False)
            self.o = nn.Linear(heads * dim, width, bias=False)

        def rotate(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
            a, b = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
            return x * cos + torch.cat([-b, a], -1) * sin

        def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
            b, t, _ = x.shape
            q = self.q(x).view(b, t, -1, self.head_dim).transpose(1, 2)
            k = self.k(x).view(b, t, -1, self.head_dim).transpose(1, 2)
            v = self.v(x).view(b, t, -1, self.head_dim).transpose(1, 2)
            q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
            n = self.num_key_value_groups
            k = k[:, :, None].expand(-1, -1, n, -1, -1).reshape(b, -1, t, self.head_dim)
            v = v[:, :, None].expand(-1, -1, n, -1, -1).reshape(b, -1, t, self.head_dim)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scaling)
            return self.o(y.transpose(1, 2).reshape(b, t, -1))

    class Layer(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.norm1, self.attention = Rms(width), Grouped(width, 4, 2, 4)
            self.norm2 = Rms(width)
            self.gate, self.up = nn.Linear(width, 20), nn.Linear(width, 20)
            self.down = nn.Linear(20, width)

        def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
            x = x + self.attention(self.norm1(x), cos, sin)
            h = self.norm2(x)
            return x + self.down(F.silu(self.gate(h)) * self.up(h))

    def forward(m: Any, ids: Tensor) -> Tensor:
        x = m.table(ids)
        angles = torch.outer(torch.arange(ids.shape[1]).float(), m.frequencies)
        angles = torch.cat([angles, angles], -1)
        for layer in m.layers:
            x = layer(x, angles.cos().to(x.dtype), angles.sin().to(x.dtype))
        return F.linear(m.norm(x), m.table.weight)

    return Wrapped(
        forward, table=nn.Embedding(20, 12), layers=nn.ModuleList([Layer(12), Layer(12)]),
        norm=Rms(12), frequencies=torch.rand(2),
    ), tokens()  # fmt: skip


@network("gpt, fused and causal")
def _gpt() -> Made:
    class Causal(nn.Module):
        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.n_head, self.split_size, self.head_dim = heads, width, width // heads
            self.attn, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.register_buffer("mask", torch.tril(torch.ones(6, 6, dtype=torch.bool)))

        def forward(self, x: Tensor) -> Tensor:
            b, t, _ = x.shape
            q, k, v = self.attn(x).split(self.split_size, dim=2)
            q, k, v = (z.view(b, t, self.n_head, -1).transpose(1, 2) for z in (q, k, v))
            scores = (q @ k.transpose(-2, -1)) * 0.5
            scores = scores.masked_fill(~self.mask[:t, :t], float("-inf"))
            y = torch.softmax(scores, -1) @ v
            return self.proj(y.transpose(1, 2).reshape(b, t, self.split_size))

    class Layer(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.ln1, self.attn = nn.LayerNorm(width), Causal(width, 3)
            self.ln2, self.fc = nn.LayerNorm(width), nn.Linear(width, 24)
            self.proj = nn.Linear(24, width)

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.attn(self.ln1(x))
            return x + self.proj(F.gelu(self.fc(self.ln2(x)), approximate="tanh"))

    def forward(m: Any, ids: Tensor) -> Tensor:
        x = m.table(ids) + m.places(torch.arange(ids.shape[1]))
        return m.out(m.norm(m.layers(x)))

    table = nn.Embedding(20, 12)
    out = nn.Linear(12, 20, bias=False)
    out.weight = table.weight
    return Wrapped(
        forward, table=table, places=nn.Embedding(6, 12),
        layers=nn.Sequential(Layer(12), Layer(12)), norm=nn.LayerNorm(12), out=out,
    ), tokens()  # fmt: skip


@network("cross attention")
def _cross() -> Made:
    def forward(m: Any, x: Tensor, context: Tensor) -> Tensor:
        x = x + m.attention(m.norm(x), m.inner(context))
        return m.out(x)

    return Wrapped(
        forward, norm=nn.LayerNorm(12), attention=Attention(12, 3, 10), inner=nn.Linear(5, 10),
        out=nn.Linear(12, 2),
    ), (torch.randn(3, 4, 12), torch.randn(3, 6, 5))  # fmt: skip


@network("relative bias and einsum")
def _einsum() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        q, k, v = (torch.einsum("btw,whd->bthd", x, p) for p in (m.q, m.k, m.v))
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) + m.bias
        y = torch.einsum("bhqk,bkhd->bqhd", torch.softmax(scores, -1), v)
        return m.out(x + torch.einsum("bthd,hdw->btw", y, m.o))

    def projection() -> nn.Parameter:
        return nn.Parameter(torch.randn(8, 3, 4) / 3)

    return Wrapped(
        forward, q=projection(), k=projection(), v=projection(),
        o=nn.Parameter(torch.randn(3, 4, 8) / 3), bias=nn.Parameter(torch.randn(3, 5, 5)),
        out=nn.Linear(8, 2),
    ), torch.randn(3, 5, 8)  # fmt: skip


@network("nn.TransformerEncoder")
def _torch_encoder() -> Made:
    layer = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True, dropout=0.0)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return nn.Sequential(nn.Linear(5, 12), encoder, nn.Linear(12, 2)), torch.randn(3, 4, 5)


@network("nn.MultiheadAttention")
def _torch_attention() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.inner(x)
        y, _ = m.attention(x, x, x, need_weights=False)
        return m.out(torch.relu(m.hidden(x + y)))

    return Wrapped(
        forward, inner=nn.Linear(5, 12), attention=nn.MultiheadAttention(12, 3, batch_first=True),
        hidden=nn.Linear(12, 10), out=nn.Linear(10, 2),
    ), torch.randn(3, 4, 5)  # fmt: skip


@network("nn.Transformer")
def _torch_transformer() -> Made:
    module = nn.Transformer(12, 3, 1, 1, 20, batch_first=True, dropout=0.0)
    return module, (torch.randn(3, 4, 12), torch.randn(3, 5, 12))


@network("mixer")
def _mixer() -> Made:
    class Layer(nn.Module):
        def __init__(self, n: int, width: int) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.tokens = nn.Sequential(nn.Linear(n, 10), nn.GELU(), nn.Linear(10, n))
            self.channels = nn.Sequential(nn.Linear(width, 24), nn.GELU(), nn.Linear(24, width))

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
            return x + self.channels(self.norm2(x))

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.layers(m.patch(x).flatten(2).transpose(1, 2))
        return m.head(m.norm(x).mean(1))

    return Wrapped(
        forward, patch=nn.Conv2d(3, 12, 4, 4), layers=nn.Sequential(Layer(16, 12), Layer(16, 12)),
        norm=nn.LayerNorm(12), head=nn.Linear(12, 3),
    ), image()  # fmt: skip


@network("swin, windows")
def _swin() -> Made:
    class Window(nn.Module):
        def __init__(self, width: int, heads: int, shift: int) -> None:
            super().__init__()
            self.num_heads, self.head_dim, self.shift = heads, width // heads, shift
            self.norm = nn.LayerNorm(width)
            self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.bias = nn.Parameter(torch.randn(heads, 4, 4))
            self.norm2 = nn.LayerNorm(width)
            self.mlp = nn.Sequential(nn.Linear(width, 20), nn.GELU(), nn.Linear(20, width))

        def forward(self, x: Tensor) -> Tensor:
            b, h, w, c = x.shape
            y = torch.roll(self.norm(x), (-self.shift, -self.shift), (1, 2))
            y = y.view(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)
            n = y.shape[0]
            qkv = self.qkv(y).reshape(n, 4, 3, self.num_heads, self.head_dim)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            weights = torch.softmax(q @ k.transpose(-2, -1) * 0.5 + self.bias, -1)
            y = self.proj((weights @ v).transpose(1, 2).flatten(2))
            y = y.view(b, h // 2, w // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
            x = x + torch.roll(y, (self.shift, self.shift), (1, 2))
            return x + self.mlp(self.norm2(x))

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.layers(m.patch(x).permute(0, 2, 3, 1))
        b, h, w, c = x.shape
        x = x.reshape(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 4, 2, 5).flatten(3)
        return m.head(m.norm(m.merge(x)).mean((1, 2)))

    return Wrapped(
        forward, patch=nn.Conv2d(3, 12, 4, 4),
        layers=nn.Sequential(Window(12, 3, 0), Window(12, 3, 1)),
        merge=nn.Linear(48, 16), norm=nn.LayerNorm(16), head=nn.Linear(16, 3),
    ), image()  # fmt: skip


@network("linear attention")
def _linear_attention() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = (p(x).view(b, n, 3, -1).transpose(1, 2) for p in (m.q, m.k, m.v))
        q, k = torch.relu(q), torch.relu(k)
        return m.out((q @ (k.transpose(-2, -1) @ v)).transpose(1, 2).flatten(2))

    return Wrapped(
        forward, q=nn.Linear(6, 12), k=nn.Linear(6, 12), v=nn.Linear(6, 15), out=nn.Linear(15, 2)
    ), torch.randn(3, 4, 6)


@network("sigmoid keys")
def _sigmoid_keys() -> Made:
    """Keys that are not zero where their weights are: the width of a head must stay."""

    def forward(m: Any, x: Tensor) -> Tensor:
        scores = torch.sigmoid(m.q(x)) @ torch.sigmoid(m.k(x)).transpose(-2, -1)
        return m.out(torch.softmax(scores, -1) @ m.v(x))

    return Wrapped(
        forward, q=nn.Linear(6, 8), k=nn.Linear(6, 8), v=nn.Linear(6, 10), out=nn.Linear(10, 2)
    ), torch.randn(3, 4, 6)


# -- graphs and others ---------------------------------------------------------------------------


@network("graph convolution")
def _gcn() -> Made:
    def forward(m: Any, x: Tensor, adjacency: Tensor) -> Tensor:
        h = torch.relu(adjacency @ m.a(x))
        return torch.log_softmax(adjacency @ m.b(h), -1)

    return Wrapped(forward, a=nn.Linear(5, 12), b=nn.Linear(12, 3)), (
        torch.randn(6, 5),
        torch.rand(6, 6),
    )


@network("message passing with index_add")
def _messages() -> Made:
    def forward(m: Any, x: Tensor, edges: Tensor) -> Tensor:
        h = torch.relu(m.first(x))
        sent = torch.relu(m.message(torch.cat([h[edges[0]], h[edges[1]]], -1)))
        total = torch.zeros(h.shape[0], 9, dtype=sent.dtype).index_add(0, edges[1], sent)
        return m.out(torch.cat([h, total], -1))

    return Wrapped(
        forward, first=nn.Linear(5, 10), message=nn.Linear(20, 9), out=nn.Linear(19, 3)
    ), (torch.randn(6, 5), torch.randint(0, 6, (2, 11)))


@network("point net")
def _points() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        local = m.local(x)
        globally = m.whole(local).amax(2, keepdim=True)
        return m.out(torch.cat([local, globally.expand(-1, -1, x.shape[2])], 1))

    local = nn.Sequential(nn.Conv1d(3, 10, 1), nn.BatchNorm1d(10), nn.ReLU())
    whole = nn.Sequential(nn.Conv1d(10, 14, 1), nn.ReLU())
    return Wrapped(forward, local=local, whole=whole, out=nn.Conv1d(24, 4, 1)), torch.randn(3, 3, 7)


@network("state space")
def _state_space() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        h, gate = m.inner(x).chunk(2, -1)
        h = F.silu(m.short(h.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)
        decay = torch.exp(-F.softplus(m.decay))
        state = torch.zeros_like(h[:, 0])
        out = []
        for t in range(x.shape[1]):
            state = decay * state + h[:, t]
            out.append(state)
        return m.out(torch.stack(out, 1) * F.silu(gate))

    return Wrapped(
        forward, inner=nn.Linear(6, 24), short=nn.Conv1d(12, 12, 3, padding=2, groups=12),
        decay=nn.Parameter(torch.randn(12)), out=nn.Linear(12, 3),
    ), torch.randn(3, 5, 6)  # fmt: skip


@network("actor and critic")
def _actor_critic() -> Made:
    def forward(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        h = m.trunk(x)
        return torch.softmax(m.actor(h), -1), m.critic(h)[..., 0]

    trunk = nn.Sequential(
        conv(4, 8, stride=2), nn.ReLU(), conv(8, 8, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 16, 20), nn.ReLU(),
    )  # fmt: skip
    return Wrapped(forward, trunk=trunk, actor=nn.Linear(20, 4), critic=nn.Linear(20, 1)), image(
        3, 4
    )
