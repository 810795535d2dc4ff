"""The policy that is measured: fifty rules as a company's might be, half of them with conditions."""

from __future__ import annotations

from typing import Any

import yaml

SCHEMAS = ("app", "billing", "crm", "stock", "audit")
CONDITIONS = (
    "!operation.where",
    "!operation.where && identity.subject != 'migrations'",
    "operation.object.startsWith('app.') && !('dba' in identity.groups)",
    "session.address.startsWith('10.') && operation.verb != 'SELECT'",
    "!('oncall' in identity.groups) || operation.where",
)


def rules(count: int = 50) -> list[dict[str, Any]]:
    """Half of them with a condition, a fifth of them about somebody only."""
    made: list[dict[str, Any]] = []
    for number in range(count):
        schema = SCHEMAS[number % len(SCHEMAS)]
        part = number // len(SCHEMAS)
        rule: dict[str, Any] = {
            "name": f"{schema}-{part}",
            "match": [
                [f"DELETE {schema}.*", f"TRUNCATE {schema}.*"],
                [f"UPDATE {schema}.ledger_*"],
                [f"DROP {schema}.*", "ALTER *"],
                [f"SELECT {schema}.secret_*", f"SELECT {schema}.card_?"],
                ["GRANT *", "REVOKE *", "COPY PROGRAM *"],
            ][number % 5],
            "effect": "deny" if number % 7 else "allow",
        }
        if number % 2:
            rule["when"] = CONDITIONS[part % len(CONDITIONS)]
        if number % 5 == 3:
            rule["who"] = {"groups": ["staff", "interns*"]}
        made.append(rule)
    return made


def document(count: int = 50, masks: list[dict[str, Any]] | None = None) -> str:
    """The text of a policy.yaml."""
    words: dict[str, Any] = {"version": 1}
    if count:
        words["rules"] = rules(count)
    if masks:
        words["masks"] = masks
    return yaml.safe_dump(words, sort_keys=False)


ELSEWHERE = [
    {"name": "people", "columns": ["crm.people.email", "crm.people.phone"], "with": "partial"},
    {"name": "cards", "columns": ["billing.card_*.number"], "with": "redact"},
]
"""Masks of tables that a measurement doesn't touch."""


def hiding(way: str) -> list[dict[str, Any]]:
    """Three columns of the table that is transferred."""
    return [
        {"name": "rows", "columns": [f"public.bench_rows.{one}" for one in ("name", "digest", "balance")], "with": way}
    ]
