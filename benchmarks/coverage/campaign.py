"""Run the instances in chunks, on several processes, and record each chunk as one JSON line.

A chunk depends on its scenario and its number only.  A record that is there already is not
computed again, so that a campaign can be stopped and continued.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, as_completed
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from pebble import ProcessPool
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.coverage import (
    features,
    modules,
    neurons,
    recovery,
    second_matrices,
    sensing,
    tickets,
    training,
)
from benchmarks.coverage.judging import claims
from benchmarks.coverage.scenario import Scenario

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for family in (
        training,
        features,
        recovery,
        sensing,
        second_matrices,
        tickets,
        neurons,
        modules,
    )
    for scenario in family.SCENARIOS
}
CHUNK_SECONDS = 3600  # after which a chunk has failed


@dataclass
class Counts:
    """How often a statement was made."""

    nominal: float
    holds: int = 0
    false: int = 0
    example: str = ""  # the first false one: the number of its instance, and its words


@dataclass
class Chunk:
    """The counts of some instances of a scenario.

    Attributes
    ----------
    scenario : str
    start, stop : int
        Numbers of the instances.
    cases : dict
        For each subject, the number of certificates, and how many fits were refused.
    statements : dict
        For each subject and statement, its `Counts`.
    seconds : float
        Processor time.
    """

    scenario: str
    start: int
    stop: int
    cases: dict[str, list[int]] = field(default_factory=dict)
    statements: dict[str, Counts] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells it from other chunks."""
        return self.scenario, self.start, self.stop

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Chunk:
        """Read a line of the record."""
        counts = {name: Counts(**values) for name, values in record.pop("statements").items()}
        return cls(**record, statements=counts)


def run_chunk(name: str, start: int, stop: int) -> Chunk:
    """Draw, fit and judge these instances of a scenario."""
    torch.set_num_threads(1)
    chunk, began = Chunk(name, start, stop), time.process_time()
    for number in range(start, stop):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            add_instance(chunk, SCENARIOS[name], number)
    chunk.seconds = time.process_time() - began
    return chunk


def add_instance(chunk: Chunk, scenario: Scenario, number: int) -> None:
    """Add one instance to the counts."""
    cases = scenario.cases(number)
    for subject in {case.subject for case in cases}:
        seen = chunk.cases.setdefault(subject, [0, 0])
        seen[0] += 1
        seen[1] += not any(case.checks for case in cases if case.subject == subject)
    for case in cases:
        for claim in claims(case):
            counts = chunk.statements.setdefault(claim.statement, Counts(claim.nominal))
            counts.holds += 1
            counts.false += claim.false
            if claim.false and not counts.example:
                counts.example = f"instance {number}: {claim.text}"


def chunks_of(scale: str, *only: str) -> list[tuple[str, int, int]]:
    """The chunks of a campaign."""
    return [
        (name, start, min(start + scenario.chunk, scenario.instances(scale)))
        for name, scenario in SCENARIOS.items()
        if not only or any(text in name for text in only)
        for start in range(0, scenario.instances(scale), scenario.chunk)
    ]


def run_campaign(
    scale: str, *only: str, workers: int = 1, record: Path | None = None, quiet: bool = False
) -> list[Chunk]:
    """Run a campaign, or what is left of it.

    Parameters
    ----------
    scale : {"small", "full"}
    *only : str
        Only scenarios with one of these texts in their name.
    workers : int
        Processes; 1 runs everything in this one.
    record : Path, optional
        The file of JSON lines that is read and continued.
    quiet : bool
        Show no progress.

    Raises
    ------
    NoJudgeError
        A check holds, and nothing can say whether it is true.
    """
    wanted = chunks_of(scale, *only)
    lines = record.read_text().splitlines() if record is not None and record.exists() else []
    known = {chunk.key: chunk for chunk in (Chunk.from_dict(json.loads(line)) for line in lines)}
    done = [known[key] for key in wanted if key in known]
    left = [key for key in wanted if key not in known]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), disable=quiet) as progress:
        bar = progress.add_task("coverage", total=len(wanted), completed=len(done))
        for chunk in _computed(left, workers):
            done.append(chunk)
            if record is not None:
                with record.open("a") as file:
                    file.write(json.dumps(asdict(chunk)) + "\n")
            progress.update(bar, advance=1, description=chunk.scenario)
    return done


def _computed(left: list[tuple[str, int, int]], workers: int) -> Iterator[Chunk]:
    if workers == 1:
        yield from (run_chunk(*key) for key in left)
        return
    with ProcessPool(max_workers=workers, context=get_context("spawn")) as pool:
        futures: list[Future[Chunk]] = [
            pool.schedule(run_chunk, args=key, timeout=CHUNK_SECONDS) for key in left
        ]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:  # the rest would run to its end before the error is shown
            pool.stop()
            raise
