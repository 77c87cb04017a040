"""A description can be printed."""

from __future__ import annotations

from secateurs.core.description import Description, Table


def test_a_table_is_aligned_and_long_ones_are_cut():
    rows = [(f"row {i}", str(10**i)) for i in range(5)]
    shown = str(Table(("name", "size"), rows, "Sizes", frozenset({"size"}), most=4)).splitlines()
    assert shown[0] == "Sizes"
    assert shown[1:3] == ["  name   size", "  row 0     1"]
    assert shown[-1] == "  ... and 1 more"
    assert len({len(line) for line in shown[1:-1]}) == 1


def test_a_description_prints_every_part_and_its_certificate():
    check = {"name": "budget", "verdict": "holds", "statement": "3 weights of 3 allowed"}
    description = Description(
        "A headline.", {"certificate": [check]}, (Table(("a",), [("b",)]),), ("A note.",)
    )
    lines = str(description).splitlines()
    assert lines == [
        "A headline.",
        *("  a", "  b"),
        "A note.",
        "holds   budget: 3 weights of 3 allowed",
    ]
