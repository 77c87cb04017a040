"""The scale of attention that follows from the width of a head, folded into the queries.

``scaled_dot_product_attention`` divides by the square root of the width of a head unless a scale is
given.  When positions inside heads go, code that gives no scale divides by less.  The rows of the
weights that make the queries are then multiplied by sqrt(new width / old width), and the scores
stay as they were.  Whether this is the right thing for a module is decided by its verification.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from secateurs.core.program import whole_attention
from secateurs.core.torch_parts import tree_map
from secateurs.nn.channels import BoolArray, ChannelPlan
from secateurs.nn.narrow_attention import can_be_narrow
from secateurs.nn.rules.call import short_name
from secateurs.nn.slots import IntArray

ATTENTION = "scaled_dot_product_attention"
SCALE = 6  # the place of the scale among its arguments
OUTPUT_AXIS = {"linear": -1, "conv1d": 1, "conv2d": 1}


@dataclass(frozen=True, eq=False)
class Fold:
    """Rows of a parameter that make queries.

    Attributes
    ----------
    name : str
        The parameter.
    rows : bool array
        Those of its first axis.
    width : int64 array
        The slots of the width of a head.
    """

    name: str
    rows: BoolArray
    width: IntArray


def row_factors(
    plan: ChannelPlan, gone: frozenset[int], before: frozenset[int] = frozenset()
) -> dict[str, NDArray[np.float64]]:
    """Return the factor of every row that is left of each parameter that makes queries.

    `before` are the atoms that were lost, and folded, already.  Only parameters with factors
    other than 1 are returned.
    """
    queries = _open_queries(plan)
    lost = gone - before
    if all(plan.keep_mask(_width(plan, query), lost).all() for query in queries):
        return {}
    known: dict[str, Any] = plan.__dict__
    if "_folds" not in known:
        known["_folds"] = list(_find_folds(plan, queries))
    factors: dict[str, NDArray[np.float64]] = {}
    for fold in known["_folds"]:
        share = plan.n_left(fold.width, gone) / plan.n_left(fold.width, before)
        if share != 1:
            factor = factors.setdefault(fold.name, np.ones(len(fold.rows)))
            factor[fold.rows] = share**0.5
    return {
        name: factor[plan.keep_mask(plan.graph_walk.parameters[name][0].slots, gone)]
        for name, factor in factors.items()
    }


@torch.no_grad()
def fold_scale(
    plan: ChannelPlan,
    gone: frozenset[int],
    tensors: dict[str, Tensor],
    before: frozenset[int] = frozenset(),
) -> dict[str, Tensor]:
    """Fold the scale of attention into tensors that were cut; others are passed on.

    `before` are the atoms that were lost, and folded, already.
    """
    found = dict(tensors)
    for name, factor in row_factors(plan, gone, before).items():
        old = tensors[name]
        new = scaled_rows(old, factor)
        found[name] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
    return found


def scaled_rows(tensor: Tensor, factor: NDArray[np.float64]) -> Tensor:
    """Multiply the rows of a tensor by factors."""
    shape = (-1, *[1] * (tensor.ndim - 1))
    return tensor.detach() * torch.from_numpy(factor).to(tensor).view(shape)


def _find_folds(plan: ChannelPlan, queries: list[fx.Node]) -> Iterator[Fold]:
    """Yield the rows of weights and biases whose outputs change some queries."""
    run = _QueryRows(plan, queries)
    with torch.enable_grad(), whole_attention():
        run.run(*(tree_map(_detached, argument) for argument in plan.program.arguments))
    placeholders = [n for n in plan.program.exported.graph.nodes if n.op == "placeholder"]
    names = dict(zip(placeholders, plan.program.names, strict=True))
    for query, rows_of in run.rows.items():
        width = _width(plan, query)
        for maker, rows in rows_of.items():
            for node in maker.args[1:3]:
                name = names.get(node) if isinstance(node, fx.Node) else None
                if name is not None:
                    yield Fold(name, rows, width)


def _open_queries(plan: ChannelPlan) -> list[fx.Node]:
    """Return the queries of every attention without a given scale, except those of torch's layer.

    The layer of torch remembers its scale when it becomes narrow.
    """
    modules = dict(plan.module.named_modules())
    found = []
    for node in plan.program.exported.graph.nodes:
        if node.op == "call_function" and short_name(node.target) == ATTENTION:
            scale = node.args[SCALE] if len(node.args) > SCALE else node.kwargs.get("scale")
            paths = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
            of_torch = any(can_be_narrow(modules[path]) for path in paths if path in modules)
            if scale is None and not of_torch:
                found.append(node.args[0])
    return found


def _width(plan: ChannelPlan, query: fx.Node) -> IntArray:
    width: IntArray = plan.graph_walk.by_node[query][-1].slots
    return width


def _makers(query: fx.Node) -> tuple[list[fx.Node], set[fx.Node]]:
    """Return the layers from which queries are computed without another layer, and the way."""
    found, todo, between = [], [query], {query}
    while todo:
        node = todo.pop()
        if node.op == "call_function" and short_name(node.target) in OUTPUT_AXIS:
            found.append(node)
            continue
        new = [n for n in node.all_input_nodes if n not in between and n.op == "call_function"]
        between.update(new)
        todo += new
    return found, between


class _QueryRows(fx.Interpreter):
    """Run a graph, and find by derivatives which outputs of its layers change the queries."""

    def __init__(self, plan: ChannelPlan, queries: list[fx.Node]) -> None:
        super().__init__(plan.program.graph_module)
        self.makers: dict[fx.Node, list[fx.Node]] = {}
        self.between: set[fx.Node] = set()
        self.leaves: dict[fx.Node, Tensor] = {}
        self.rows: dict[fx.Node, dict[fx.Node, BoolArray]] = {}
        for query in queries:
            self.makers[query], between = _makers(query)
            self.between |= between

    def run_node(self, n: fx.Node) -> Any:
        """Run a node; layers give leaves, and queries are differentiated."""
        value = super().run_node(n)
        if any(n in makers for makers in self.makers.values()):
            self.leaves[n] = value.detach().requires_grad_()
            return self.leaves[n].clone()
        if n in self.makers:
            self.rows[n] = self._rows(n, value)
        return value if n in self.between else tree_map(_detached, value)

    def _rows(self, query: fx.Node, value: Tensor) -> dict[fx.Node, BoolArray]:
        makers = self.makers[query]
        if not value.requires_grad:
            return {}
        generator = torch.Generator().manual_seed(0)
        weights = torch.randn(value.shape, generator=generator).to(value)
        gradients = torch.autograd.grad(
            (value * weights).sum(), [self.leaves[maker] for maker in makers],
            allow_unused=True, retain_graph=True,
        )  # fmt: skip
        rows = {}
        for maker, gradient in zip(makers, gradients, strict=True):
            if gradient is not None:
                axis = OUTPUT_AXIS[short_name(maker.target)] % gradient.ndim
                others = tuple(i for i in range(gradient.ndim) if i != axis)
                rows[maker] = (gradient.abs().sum(others) > 0).cpu().numpy()
        return rows


def _detached(leaf: Any) -> Any:
    return leaf.detach() if isinstance(leaf, Tensor) else leaf
