"""The ledger alone: as text, as JSON, and that it says so when it does not balance."""

from __future__ import annotations

import json

import pytest

from gristmill.packing import Ledger


def test_a_ledger_prints_and_is_json() -> None:
    ledger = Ledger(
        documents_read=12,
        documents_packed=10,
        documents_skipped={"null": 2},
        bytes=12_345,
        tokens=4_000,
        eos_tokens=10,
        tokens_emitted=3_072,
        tokens_carried=900,
        tokens_dropped=28,
        tokens_padding=5,
    )
    assert json.loads(json.dumps(ledger.check().to_dict()))["documents_skipped"] == {"null": 2}
    assert str(ledger).splitlines() == [
        "documents read                12",
        "  packed                      10  12,345 bytes",
        "  skipped                      2  2 null",
        "tokens                     4,000  10 of them EOS",
        "  in blocks                3,072  and 5 ids of padding (0.16%)",
        "  carried                    900  wait for their block",
        "  dropped                     28  of the last, partial blocks",
    ]


@pytest.mark.parametrize("field", ["documents_read", "tokens", "eos_tokens", "tokens_carried"])
def test_a_ledger_that_does_not_balance_says_so(field: str) -> None:
    with pytest.raises(ArithmeticError, match="does not balance"):
        Ledger(**{field: 1}).check()
