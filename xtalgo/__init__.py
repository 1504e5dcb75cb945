"""Event-driven algorithmic trading in Python for NinjaTrader 8, over CrossTrade's WebSocket API."""

__version__ = "0.1.0"
