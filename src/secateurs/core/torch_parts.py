"""Parts of torch that have no public name: nested values, a mode that sees every operation, ..."""

from __future__ import annotations

import torch

decomposition_table = torch._decomp.decomposition_table
tree_flatten = torch.utils._pytree.tree_flatten
tree_leaves = torch.utils._pytree.tree_leaves
tree_map = torch.utils._pytree.tree_map
tree_unflatten = torch.utils._pytree.tree_unflatten
TorchDispatchMode = torch.utils._python_dispatch.TorchDispatchMode
