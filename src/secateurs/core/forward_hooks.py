"""Changes to a torch module that its layers and weights do not show."""

from __future__ import annotations

from torch import nn
from torch.nn.modules import module as torch_module

from secateurs.core.parameters import Shown, bad_value

PLAIN = "a module that computes what its layers and weights say"
CALLED = ("forward", "_conv_forward", "_call_impl", "_wrapped_call_impl")
GLOBAL = ("_global_forward_pre_hooks", "_global_forward_hooks")


def check_forward(module: nn.Module) -> None:
    """Refuse a module if something besides its layers decides what its forward returns.

    Forward hooks and forward pre-hooks of any submodule or of all modules, a forward that was
    replaced on an instance, and compiled modules are refused.  Backward hooks are accepted,
    because they do not change what is returned.

    Raises
    ------
    ValueError
        The message names the submodule and what was found.

    Notes
    -----
    Cost: one look at every submodule.
    """
    if any(getattr(torch_module, name, None) for name in GLOBAL):
        got = Shown("a forward hook that was registered for all modules")
        raise bad_value("module", got, PLAIN, "remove the hook by its handle")
    for name, child in module.named_modules():
        found = _found(child)
        if found is not None:
            where = f"{name or 'module'} ({type(child).__name__})"
            raise bad_value(where, Shown(found[0]), PLAIN, found[1])


def _found(module: nn.Module) -> tuple[str, str] | None:
    """Return what changes the result of this module itself, and what to do about it."""
    if "_orig_mod" in module._modules or vars(module).get("_compiled_call_impl") is not None:
        return "a compiled module", "pass the module as it was before it was compiled"
    if module._forward_pre_hooks:
        return "a forward pre-hook", "remove the hook, by its handle or the function that made it"
    if module._forward_hooks:
        return "a forward hook", "remove the hook, by its handle or the function that made it"
    replaced = [name for name in CALLED if name in vars(module)]
    if replaced:
        return f"a {replaced[0]} that was replaced on the instance", "put it into a class"
    return None
