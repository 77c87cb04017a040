"""What an integer network says about itself."""

from __future__ import annotations

from typing import Any

from secateurs.core.description import Description, Table, format_bytes
from secateurs.tiny.arithmetic import IntegerArithmetic
from secateurs.tiny.footprint import flash_bytes, ram_bytes
from secateurs.tiny.outputs import ClassOutputs


def describe_integer_network(network: IntegerArithmetic) -> Description:
    """Return the costs, the worst sums and the certificate."""
    widths = [network.layers[0].n_in, *(layer.n_out for layer in network.layers)]
    report = dict(network.report_ or {})
    stage = getattr(network.inputs, "stage", None)
    metric = "accuracy" if isinstance(network.outputs, ClassOutputs) else "R²"
    facts: dict[str, Any] = {
        "widths": widths,
        "first_stage": None if stage is None else stage.about,
        "nonzeros": network.n_nonzero_,
        "bits": network.bits_,
        "flash_bytes": flash_bytes(network),
        "data_bytes": len(network.stream_),
        "ram_bytes": ram_bytes(network),
        "worst_sums": list(network.worst_sums_),
        "metric": metric,
        **report,
        "certificate": network.certificate_.to_list(),
    }
    rows = [
        *([] if stage is None else [("first stage", stage.about)]),
        ("flash", f"{format_bytes(flash_bytes(network))} on a Cortex-M0 at -Os, all code included"),
        ("data", f"{format_bytes(len(network.stream_))} of positions and weights"),
        ("RAM", f"{format_bytes(ram_bytes(network))} of stack with the inputs"),
        ("largest sums", ", ".join(f"{worst:,}" for worst in network.worst_sums_)),
    ]
    for key, label in (("score", "this network"), ("float_score", "before quantisation")):
        if report.get(key) is not None:
            rows.append((f"{metric}, {label}", f"{report[key]:.4f}"))
    return Description(
        f"Integer network {'-'.join(map(str, widths))} with {network.n_nonzero_:,} weights of "
        f"{network.bits_} bits: {flash_bytes(network):,} bytes of flash and "
        f"{ram_bytes(network):,} bytes of RAM.",
        facts,
        (Table(("cost", "value"), rows),),
    )
