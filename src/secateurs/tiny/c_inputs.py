"""The parts of the program in C that read the inputs and name the outputs."""

from __future__ import annotations

from secateurs.tiny import c_stages, c_templates
from secateurs.tiny.arithmetic import IntegerArithmetic
from secateurs.tiny.c_text import array_lines, c_comment, c_string
from secateurs.tiny.inputs import CategoryFeature, PixelInputs, Source, TableInputs
from secateurs.tiny.outputs import ClassOutputs, NumberOutputs

Words = dict[str, str]
SHOWN_CATEGORIES = 40  # categories of a column that the header lists


def function(inputs: PixelInputs | TableInputs, words: Words) -> str:
    """Return the function that turns raw inputs into those of the network; "" if they are equal."""
    if isinstance(inputs, TableInputs):
        return _encode_function(inputs, words)
    return "" if inputs.stage is None else c_stages.function(inputs.stage, words)


def _encode_function(inputs: TableInputs, words: Words) -> str:
    numbers, categories, codes = [], [], [0]
    for part in inputs.parts:
        source = inputs.sources[part.source]
        about = f"/* {c_comment(part.name)} */"
        if isinstance(part, CategoryFeature):
            missing = part.on if source.fill == part.code else part.off
            row = f"{part.source}, {part.code}, {part.on}, {part.off}, {missing}"
            categories.append(f"    {{{row}}}, {about}\n")
            codes += [part.source, part.code]
        else:
            row = f"{_long(part.low)}, {part.multiplier}, {part.missing(source)}"
            numbers.append(f"    {{{row}}}, {about}\n")
    large = max(codes) > 255
    index = {"index_t": "uint16_t" if large else "uint8_t"}
    read = {"read": "READ16" if large else "READU8"}
    text, body = "", ""
    if numbers:
        sizes = {"n": len(numbers), "rows": "".join(numbers)}
        text += c_templates.NUMBERS.format(**sizes)
        body += c_templates.ENCODE_NUMBERS.format(**words, **sizes)
    if categories:
        sizes = {"n": len(categories), "rows": "".join(categories)}
        text += c_templates.CATEGORIES.format(**index, **sizes)
        body += c_templates.ENCODE_CATEGORIES.format(**words, **read, **sizes)
    body = body or "    (void)raw;\n    (void)x;\n    (void)i;\n"
    return text + c_templates.ENCODE.format(**words, body=body)


def _long(value: int) -> str:
    return f"INT32_C({value})" if value >= 0 else f"-INT32_C({-value})"


def declaration(inputs: PixelInputs | TableInputs, words: Words) -> str:
    """Return the lines of the header about the inputs."""
    name, upper = words["name"], words["NAME"]
    if isinstance(inputs, PixelInputs):
        return "" if inputs.stage is None else c_stages.declaration(inputs.stage, words)
    lines = [_source_line(i, source) for i, source in enumerate(inputs.sources)]
    return (
        f"#define {upper}_RAW {max(inputs.n_raw, 1)}\n"
        f"#define {upper}_MISSING (-INT32_C(2147483647) - 1)\n\n"
        "/* Compute the inputs from a row of whole numbers:\n"
        + "".join(f" *   {line}\n" for line in lines)
        + f" */\nvoid {name}_encode(const int32_t raw[], int8_t x[]);\n\n"
    )


def _source_line(i: int, source: Source) -> str:
    missing = "" if source.fill is None else "; may be missing"
    if source.categories:
        shown = ", ".join(
            f"{code} = {c_comment(text)}"
            for code, text in enumerate(source.categories[:SHOWN_CATEGORIES])
        )
        more = ", ..." if len(source.categories) > SHOWN_CATEGORIES else ""
        return f"raw[{i}]  {c_comment(source.name)}: {shown}{more}, -1 = another{missing}"
    return f"raw[{i}]  {c_comment(source.name)}, {_units(source.decimals)}{missing}"


def _units(decimals: int) -> str:
    return f"in units of {10.0**-decimals:.{max(decimals, 0)}f}"


def output_units(outputs: ClassOutputs | NumberOutputs) -> str:
    """Return the lines of the header about the outputs."""
    if isinstance(outputs, NumberOutputs):
        lines = [f" * y[{i}] is {_units(part.decimals)}." for i, part in enumerate(outputs.parts)]
        return "\n".join(lines)
    labels = [f"{i} = {c_comment(str(label))}" for i, label in enumerate(outputs.labels.tolist())]
    shown = ", ".join(labels[:SHOWN_CATEGORIES]) + (
        ", ..." if len(labels) > SHOWN_CATEGORIES else ""
    )
    return f" * {shown}."


def labels_declaration(outputs: ClassOutputs | NumberOutputs, words: Words) -> str:
    """Return the declaration of the table of labels."""
    if isinstance(outputs, NumberOutputs):
        return ""
    name, upper = words["name"], words["NAME"]
    return (
        f"\n#ifdef {upper}_LABELS /* define it for a table of the names of the classes */\n"
        f"extern const char *const {name}_labels[{upper}_OUTPUTS];\n#endif\n"
    )


def labels(outputs: ClassOutputs | NumberOutputs, words: Words) -> str:
    """Return the table of labels, which is compiled only where it is asked for."""
    if isinstance(outputs, NumberOutputs):
        return ""
    name, upper = words["name"], words["NAME"]
    lines = "".join(f"    {c_string(str(label))},\n" for label in outputs.labels.tolist())
    return (
        f"\n#ifdef {upper}_LABELS\n"
        f"const char *const {name}_labels[{upper}_OUTPUTS] = {{\n{lines}}};\n#endif\n"
    )


def test_program(network: IntegerArithmetic, words: Words) -> str:
    """Return a main function that compares the scores of a few rows; "" without rows."""
    rows = network.examples
    if not len(rows) or not network.inputs.n_raw:
        return ""
    inputs, name, upper = network.inputs, words["name"], words["NAME"]
    is_table = isinstance(inputs, TableInputs)
    prepare, x = "", "test_rows[i]"
    step = "encode" if isinstance(inputs, TableInputs) else getattr(inputs.stage, "name", None)
    if step is not None:
        prepare = f"        {words['input_t']} x[{upper}_INPUTS];\n"
        prepare += f"        {name}_{step}(test_rows[i], x);\n"
        x = "x"
    return c_templates.TEST.format(
        **words,
        raw_t="int32_t" if is_table else "uint8_t",
        n=len(rows),
        n_raw=inputs.n_raw,
        k=network.layers[-1].n_out,
        rows="".join(f"    {{\n{array_lines(row)}    }},\n" for row in rows.tolist()),
        scores="".join(
            f"    {{\n{array_lines(row)}    }},\n" for row in network.raw_scores(rows).tolist()
        ),
        prepare=prepare,
        x=x,
    )
