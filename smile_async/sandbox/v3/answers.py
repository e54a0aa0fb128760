"""What authorities and lists say of whom they are asked about, in V3's names; people are all made up."""

from collections.abc import Mapping
from typing import Any

from .words import parted

__all__ = ["TELLING", "id_fields", "people"]

#: Statuses that tell what an authority knows.
TELLING = ("clear", "attention")


def id_fields(code: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """What an authority, or a card, says of a person; nothing where the job was not let through."""
    if parted(code)[0] not in TELLING:
        return {}
    first, last = said.get("given_names", ""), said.get("last_name", "")
    return {
        "country": said.get("country"),
        "id_type": said.get("id_type"),
        "id_number": said.get("id_number", "A0000000"),
        "first_name": first,
        "last_name": last,
        "full_name": f"{first} {last}".strip(),
        "date_of_birth": "1990-01-31",
        "gender": "Female",
        "address": "1 Broad Street, Lagos",
        "issuance_date": None,
        "expiration_date": "2031-01-31",
        "photo_url": None,
    }


def people(status: str, about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Who of that name is on a list or in the news."""
    if status == "clear":
        return []
    who = {
        "name": about.get("full_name", "Ada Obi"),
        "aliases": about.get("aliases", []),
        "nationalities": about.get("countries", []),
        "dates_of_birth": [about.get("birth_year", "1990")],
        **{name: [] for name in ("addresses", "associations", "enforcement_actions", "sanctions", "news_summary")},
        "pep": {"pep_level": None, "political_positions": [], "sources": []},
    }
    if status == "block":
        return [{**who, "sanctions": [{"source": "A list of sanctions"}]}]
    news = {"news_category": "fraud", "news_category_label": "Fraud", "number_of_articles": 2}
    return [{**who, "news_summary": [news]}] if status == "attention" else []
