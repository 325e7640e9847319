"""A small `TokenizerReport` made by hand: every part filled, for tests of what shows reports."""

from __future__ import annotations

from gristmill import report as r


def sample_report(
    name: str = "sample", num_tokens: int = 300, bytes_per_token: float = 2.5
) -> r.TokenizerReport:
    """Return a report with one metric or more in each section, "not applicable" and intervals among them."""
    entry = r.TokenEntry(id=258, token="Ġwor", text=" wor", count=7, num_bytes=4)
    document = r.OutlyingDocument(row=3, name="corpus.jsonl, row 3", bytes=2048, tokens=1024)
    metrics = (
        r.Metric(
            name="fertility",
            section="words",
            value=1.5,
            numerator=60,
            denominator=40,
            interval=r.Interval(low=1.4, high=1.6),
            rule="tokens that cover at least one byte of a word / words",
        ),
        r.Metric(
            name="bytes_per_token",
            section="compression",
            value=bytes_per_token,
            rule="UTF-8 bytes / tokens",
        ),
        r.Metric(
            name="unknown_share",
            section="coverage",
            value=None,
            is_share=True,
            rule="unknown tokens / tokens",
        ),
        r.Metric(
            name="renyi_efficiency", section="efficiency", value=0.5, is_share=False, rule="H / log |V|"
        ),
        r.Metric(name="tokens_per_code_line", section="code", value=9.0, rule="tokens / lines not blank"),
        r.Metric(name="token_edit_distance_case", section="robustness", value=0.25, rule="edits / tokens"),
        r.Metric(name="parity", section="parity", value=1.75, rule="tokens / tokens of the parallel text"),
    )
    return r.TokenizerReport(
        tokenizer=r.TokenizerSummary(
            name=name,
            fingerprint="00" * 32,
            engine="gristmill",
            engine_reason="byte-level BPE",
            model="BPE",
            num_tokens=num_tokens,
            num_ordinary_tokens=num_tokens - 1,
        ),
        corpus=r.CorpusSummary(
            name="sample corpus",
            documents=5,
            num_skipped=1,
            bytes=200,
            characters=190,
            lines=12,
            code_lines=10,
            tokens=80,
        ),
        settings=r.MeasureSettings(
            rare_below=10,
            confidence=0.95,
            num_replicates=1000,
            num_groups=5,
            seed=0,
            noises=("case",),
            noise_rate=0.1,
            reference="",
            parallel="german.txt",
        ),
        metrics=metrics,
        words=(
            r.WordSummary(
                rule="whitespace",
                definition="a maximal run of characters that are no white space",
                words=40,
                tokens_in_words=60,
                continued_words=12,
                sampled_types=30,
                is_sample=False,
                estimated_types=30,
                single_alone=3,
                single_after_blank=6,
                standard_error=0.0,
            ),
        ),
        code=r.CodeSummary(
            python="3.11",
            keywords=("def", "if"),
            keywords_single=("if",),
            keywords_single_after_blank=("def", "if"),
            builtins=("len", "print"),
            builtins_single=(),
            builtins_single_after_blank=("len",),
            indentations=(
                r.Indentation(kind="4 spaces", level=1, tokens_alone=1, tokens_in_code=2),
                r.Indentation(kind="tab", level=1, tokens_alone=1, tokens_in_code=1),
            ),
        ),
        vocabulary=r.VocabularySummary(
            used=100,
            rare=20,
            never_used=199,
            unreachable=1,
            unreachable_rule="encoding its own bytes never gives it",
            longest=(entry,),
            first_learned=(entry,),
            last_learned=None,
            most_frequent=(entry,),
            never_used_ids=(*range(100, 299),),
            unreachable_ids=(258,),
            never_used_tokens=(entry,),
            unreachable_tokens=(entry,),
        ),
        distributions=r.Distributions(
            rank_frequency=(r.RankFrequency(rank=1, count=40), r.RankFrequency(rank=100, count=1)),
            token_lengths=(
                r.TokenLength(num_bytes=1, tokens=256, occurrences=50),
                r.TokenLength(num_bytes=4, tokens=43, occurrences=30),
            ),
            worst_documents=(document,),
            best_documents=(document,),
            outlier_min_bytes=1024,
        ),
    )
