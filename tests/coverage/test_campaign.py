"""The small campaign: no statement of any certificate is broken."""

import pytest
from benchmarks.coverage.campaign import chunks_of, run_campaign
from benchmarks.coverage.summary import rows_of, totals

pytestmark = pytest.mark.slow


def test_no_statement_is_broken(tmp_path):
    chunks = run_campaign("small", workers=2, record=tmp_path / "record.jsonl", quiet=True)
    broken = [
        f"{row.statement}, {row.scenario}: {row.false} of {row.holds}; {row.example}"
        for row in rows_of(chunks)
        if row.verdict == "BROKEN"
    ]
    assert not broken, "\n".join(broken)
    total = totals(chunks)
    assert len(chunks) == len(chunks_of("small"))
    assert total["statements"] > 1000
    assert total["exact"] > 100  # nothing is true because nothing is claimed
