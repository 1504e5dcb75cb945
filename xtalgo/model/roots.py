"""Facts of the 42 futures roots that ship with the package.

Tick sizes, point values and delivery months were compared with the product pages of CME Group and with published
broker tables. ``commission`` is an assumption, not a fact: a round all-in figure (broker, exchange, clearing and NFA)
per contract and side for a retail account; set ``--commission`` to what your broker charges.
"""

from __future__ import annotations

from attrs import frozen

__all__ = ["DEFAULT_COMMISSION", "ROOTS", "RootFacts"]


@frozen
class RootFacts:
    """``point_value`` is in US dollars a point, ``months`` are delivery month codes, ``commission`` dollars a side."""

    exchange: str
    tick_size: float
    point_value: float
    months: str
    commission: float
    description: str


DEFAULT_COMMISSION = 3.00
"""Assumed all-in cost per contract and side for a root that is not listed."""

# fmt: off
ROOTS: dict[str, RootFacts] = {
    "ES": RootFacts("CME", 0.25, 50, "HMUZ", 2.90, "E-mini S&P 500"),
    "MES": RootFacts("CME", 0.25, 5, "HMUZ", 0.95, "Micro E-mini S&P 500"),
    "NQ": RootFacts("CME", 0.25, 20, "HMUZ", 2.90, "E-mini Nasdaq-100"),
    "MNQ": RootFacts("CME", 0.25, 2, "HMUZ", 0.95, "Micro E-mini Nasdaq-100"),
    "RTY": RootFacts("CME", 0.1, 50, "HMUZ", 2.90, "E-mini Russell 2000"),
    "M2K": RootFacts("CME", 0.1, 5, "HMUZ", 0.95, "Micro E-mini Russell 2000"),
    "EMD": RootFacts("CME", 0.1, 100, "HMUZ", 2.90, "E-mini S&P MidCap 400"),
    "NKD": RootFacts("CME", 5, 5, "HMUZ", 2.90, "Nikkei 225 (USD)"),
    "YM": RootFacts("CBOT", 1, 5, "HMUZ", 2.90, "E-mini Dow ($5)"),
    "MYM": RootFacts("CBOT", 1, 0.5, "HMUZ", 0.95, "Micro E-mini Dow"),
    "CL": RootFacts("NYMEX", 0.01, 1000, "FGHJKMNQUVXZ", 3.10, "Crude Oil (WTI)"),
    "MCL": RootFacts("NYMEX", 0.01, 100, "FGHJKMNQUVXZ", 1.25, "Micro WTI Crude Oil"),
    "NG": RootFacts("NYMEX", 0.001, 10000, "FGHJKMNQUVXZ", 3.10, "Henry Hub Natural Gas"),
    "RB": RootFacts("NYMEX", 0.0001, 42000, "FGHJKMNQUVXZ", 3.10, "RBOB Gasoline"),
    "HO": RootFacts("NYMEX", 0.0001, 42000, "FGHJKMNQUVXZ", 3.10, "NY Harbor ULSD (Heating Oil)"),
    "PL": RootFacts("NYMEX", 0.1, 50, "FJNV", 3.10, "Platinum"),
    "GC": RootFacts("COMEX", 0.1, 100, "GJMQVZ", 3.10, "Gold"),
    "MGC": RootFacts("COMEX", 0.1, 10, "GJMQVZ", 1.25, "Micro Gold"),
    "SI": RootFacts("COMEX", 0.005, 5000, "HKNUZ", 3.10, "Silver"),
    "SIL": RootFacts("COMEX", 0.005, 1000, "FHKNUZ", 1.25, "Micro Silver (1000 oz)"),
    "HG": RootFacts("COMEX", 0.0005, 25000, "HKNUZ", 3.10, "Copper"),
    "ZT": RootFacts("CBOT", 0.00390625, 2000, "HMUZ", 2.40, "2-Year U.S. Treasury Note"),
    "ZF": RootFacts("CBOT", 0.0078125, 1000, "HMUZ", 2.40, "5-Year U.S. Treasury Note"),
    "ZN": RootFacts("CBOT", 0.015625, 1000, "HMUZ", 2.40, "10-Year U.S. Treasury Note"),
    "TN": RootFacts("CBOT", 0.015625, 1000, "HMUZ", 2.40, "Ultra 10-Year U.S. Treasury Note"),
    "ZB": RootFacts("CBOT", 0.03125, 1000, "HMUZ", 2.40, "30-Year U.S. Treasury Bond"),
    "UB": RootFacts("CBOT", 0.03125, 1000, "HMUZ", 2.40, "Ultra U.S. Treasury Bond"),
    "6E": RootFacts("CME", 0.00005, 125000, "HMUZ", 3.20, "Euro FX"),
    "M6E": RootFacts("CME", 0.0001, 12500, "HMUZ", 0.85, "Micro EUR/USD"),
    "6B": RootFacts("CME", 0.0001, 62500, "HMUZ", 3.20, "British Pound"),
    "M6B": RootFacts("CME", 0.0001, 6250, "HMUZ", 0.85, "Micro GBP/USD"),
    "6J": RootFacts("CME", 0.0000005, 12500000, "HMUZ", 3.20, "Japanese Yen"),
    "6A": RootFacts("CME", 0.00005, 100000, "HMUZ", 3.20, "Australian Dollar"),
    "M6A": RootFacts("CME", 0.0001, 10000, "HMUZ", 0.85, "Micro AUD/USD"),
    "6C": RootFacts("CME", 0.00005, 100000, "HMUZ", 3.20, "Canadian Dollar"),
    "6S": RootFacts("CME", 0.00005, 125000, "HMUZ", 3.20, "Swiss Franc"),
    "6N": RootFacts("CME", 0.00005, 100000, "HMUZ", 3.20, "New Zealand Dollar"),
    "BTC": RootFacts("CME", 5, 5, "FGHJKMNQUVXZ", 7.50, "Bitcoin"),
    "MBT": RootFacts("CME", 5, 0.1, "FGHJKMNQUVXZ", 3.25, "Micro Bitcoin"),
    "ZC": RootFacts("CBOT", 0.25, 50, "HKNUZ", 3.70, "Corn (quoted in cents per bushel)"),
    "ZS": RootFacts("CBOT", 0.25, 50, "FHKNQUX", 3.70, "Soybeans (quoted in cents per bushel)"),
    "ZW": RootFacts("CBOT", 0.25, 50, "HKNUZ", 3.70, "Chicago SRW Wheat (quoted in cents per bushel)"),
}
# fmt: on
