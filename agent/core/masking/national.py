"""National numbers of persons that python-stdnum checks: a selection of those that have a checksum, a date or a form
so narrow that other digits are seldom taken for them. Names are COUNTRY_NUMBER, as stdnum's modules; `national_id` is
all of them.

Left out because too many other numbers pass: the Dutch BSN and the Croatian OIB (one digit of checksum and nothing
else), the Australian TFN, Danish and Malaysian numbers (a date and no checksum).
"""

from __future__ import annotations

from typing import Any, Final

from stdnum.ar import cuit
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn
from stdnum.cl import rut
from stdnum.cn import ric
from stdnum.cz import rc
from stdnum.de import idnr
from stdnum.ee import ik
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.kr import rrn
from stdnum.mx import curp
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.ro import cnp
from stdnum.se import personnummer
from stdnum.tr import tckimlik
from stdnum.us import itin
from stdnum.za import idnr as za_idnr

from agent.core.masking.kinds import Kind, apart

_MODULES: Final[dict[str, tuple[Any, str, str]]] = {
    "ar_cuit": (cuit, r"[0-9]{2}-[0-9]{8}-[0-9]", r"[0-9]{2}-[0-9]{8}-[0-9]"),
    "be_nn": (nn, r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}", r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}"),
    "br_cpf": (cpf, r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}"),
    "ca_sin": (sin, r"[0-9]{3}-[0-9]{3}-[0-9]{3}", r"[0-9]{3}-[0-9]{3}-[0-9]{3}"),
    "ch_ssn": (ssn, r"756\.?[0-9]{4}\.?[0-9]{4}", r"756(?:\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}|[0-9]{10})"),
    "cl_rut": (rut, r"[0-9]\.[0-9]{3}\.[0-9]{3}-[0-9Kk]", r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]"),
    "cn_ric": (ric, r"[0-9]{17}[0-9Xx]", r"[1-9][0-9]{5}(?:19|20)[0-9]{2}[01][0-9][0-3][0-9]{4}[0-9Xx]"),
    "cz_rc": (rc, r"[0-9]{6}/[0-9]{3}", r"[0-9]{6}/[0-9]{4}"),
    "de_idnr": (idnr, r"[0-9]{2} [0-9]{3} [0-9]{3} [0-9]{3}", r"[1-9][0-9] [0-9]{3} [0-9]{3} [0-9]{3}"),
    "ee_ik": (ik, r"[0-9]{11}", r"[3-6][0-9]{2}[01][0-9][0-3][0-9]{5}"),
    "es_dni": (dni, r"[0-9]{8}-?[A-Z]", r"[0-9]{8}-?[A-Z]"),
    "es_nie": (nie, r"[XYZ]-?[0-9]{7}-?[A-Z]", r"[XYZ]-?[0-9]{7}-?[A-Z]"),
    "fi_hetu": (hetu, r"[0-9]{6}[A-FU-Y+-][0-9]{3}[0-9A-Y]", r"[0-3][0-9][01][0-9]{3}[A-FU-Y+-][0-9]{3}[0-9A-Y]"),
    "fr_nir": (
        nir,
        r"[12] ?[0-9]{2} ?[0-9]{2} ?[0-9][0-9AB] ?[0-9]{3} ?[0-9]{3}",
        r"[12] ?[0-9]{2} ?[0-9]{2} ?[0-9][0-9AB] ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
    ),
    "gb_nhs": (nhs, r"[0-9]{3} [0-9]{3} [0-9]{4}", r"[0-9]{3} [0-9]{3} [0-9]{4}"),
    "in_aadhaar": (aadhaar, r"[0-9]{4} [0-9]{4} [0-9]{4}", r"[2-9][0-9]{3} [0-9]{4} [0-9]{4}"),
    "it_codicefiscale": (
        codicefiscale,
        r"[A-Z]{6}[0-9]{2}[A-EHLMPR-T][0-9]{2}[A-Z]",
        r"[A-Z]{6}[0-9]{2}[A-EHLMPR-T][0-9]{2}[A-Z][0-9]{3}[A-Z]",
    ),
    "kr_rrn": (rrn, r"[0-9]{6}-[0-9]{7}", r"[0-9]{2}[01][0-9][0-3][0-9]-[0-9]{7}"),
    "mx_curp": (curp, r"[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}", r"[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[0-9A-Z][0-9]"),
    "no_fodselsnummer": (fodselsnummer, r"[0-9]{6} ?[0-9]{5}", r"[0-7][0-9]{5} ?[0-9]{5}"),
    "pl_pesel": (pesel, r"[0-9]{11}", r"[0-9]{4}[0-3][0-9]{6}"),
    "ro_cnp": (cnp, r"[0-9]{13}", r"[1-9][0-9]{2}[01][0-9][0-3][0-9]{7}"),
    "se_personnummer": (personnummer, r"[0-9]{6}[-+][0-9]{4}", r"(?:19|20)?[0-9]{2}[01][0-9][0-3][0-9][-+][0-9]{4}"),
    "tr_tckimlik": (tckimlik, r"[0-9]{11}", r"[1-9][0-9]{10}"),
    "us_itin": (itin, r"9[0-9]{2}-[5-9][0-9]-[0-9]{4}", r"9[0-9]{2}-[5-9][0-9]-[0-9]{4}"),
    "za_idnr": (za_idnr, r"[0-9]{13}", r"[0-9]{2}[01][0-9][0-3][0-9]{5}[01][0-9]{2}"),
}
_JOINTS: Final = b".-/"


class Number(Kind):
    """A national number that a module of python-stdnum checks."""

    def __init__(self, module: Any, cheap: str, pattern: str) -> None:
        super().__init__((cheap,), pattern, self.checked, True)
        self._module: Final = module

    def checked(self, text: bytes, start: int, end: int) -> int:
        """A check as agent.core.masking.kinds has them."""
        if not apart(text, start, end, _JOINTS):
            return -1
        number = text[start:end].decode("latin-1")
        return end if self._module.is_valid(number) and len(set(number)) > 3 else -1


NATIONAL: Final[dict[str, Kind]] = {name: Number(*entry) for name, entry in _MODULES.items()}
