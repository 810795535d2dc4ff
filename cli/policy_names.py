"""What columns are called that hold something personal, in a few languages."""

from __future__ import annotations

import re
import unicodedata

NAMES: dict[str, tuple[str, ...]] = {
    "email": ("email", "e mail", "mail", "email address", "mail address", "courriel", "correo", "correo electronico"),
    "phone": (
        "phone", "phone number", "phone no", "telephone", "mobile", "mobile number", "fax", "tel",
        "telefon", "telefonnummer", "handy", "telefono", "movil",
    ),
    "credit_card": (
        "card number", "card no", "credit card", "creditcard", "kreditkarte", "kartennummer", "numero carte",
        "tarjeta",
    ),
    "iban": ("iban", "account iban", "bank account", "kontonummer", "cuenta bancaria"),
    "us_ssn": ("ssn", "social security", "social security number"),
    "national_id": (
        "national id", "national number", "tax id", "passport", "passport number", "passport no", "ausweisnummer",
        "steuer id", "numero securite sociale", "dni", "nif", "curp", "cpf", "pesel", "bsn", "codice fiscale",
    ),
    "birth_date": (
        "birth date", "date of birth", "birthday", "birth", "dob", "born", "geburtsdatum", "geburtstag",
        "date naissance", "date de naissance", "fecha nacimiento", "fecha de nacimiento", "data nascita",
        "data di nascita",
    ),
    "salary": ("salary", "wage", "income", "gehalt", "lohn", "salaire", "salario", "sueldo", "stipendio"),
    "person_name": (
        "first name", "last name", "full name", "surname", "given name", "family name", "maiden name", "vorname",
        "nachname", "prenom", "nom de famille", "apellido", "apellidos", "cognome",
    ),
    "address": (
        "street", "street address", "home address", "postal address", "address line", "strasse", "anschrift",
        "adresse", "direccion", "indirizzo",
    ),
    "password": (
        "password", "passwd", "password hash", "pwd", "passphrase", "secret", "api key", "access token",
        "refresh token", "pin", "passwort", "mot de passe", "contrasena",
    ),
}  # fmt: skip
"""By the kind that is proposed: how a column's name ends, word by word. `docs/policy.md` lists them."""

_SPLIT = re.compile(r"[^0-9A-Za-z]+|(?<=[a-z0-9])(?=[A-Z])")
_PLAIN = {"text", "texts", "number"}


def named(column: str, kind: str) -> str | None:
    """The kind of value that a column of this name is for, None if its name says nothing. `kind` is the column's as
    in schemas.discovery: times and days can only be of birth, and what isn't text, number or day can't be any of it."""
    words = _words(column)
    found = next((name for name, endings in NAMES.items() if any(_fits(words, each) for each in endings)), None)
    fits = kind in _PLAIN or (kind == "date" and found == "birth_date")
    return found if fits else None


def _words(column: str) -> list[str]:
    """The words of a name: `HomePhone2` and `home_phone` are home, phone."""
    flat = unicodedata.normalize("NFKD", column.replace("ß", "ss"))
    plain = "".join(letter for letter in flat if not unicodedata.combining(letter))
    words = [word.lower().rstrip("0123456789") for word in _SPLIT.split(plain)]
    return [word for word in words if word]


def _fits(words: list[str], ending: str) -> bool:
    wanted = ending.split(" ")
    return words[-len(wanted) :] == wanted or "".join(words) == "".join(wanted)
