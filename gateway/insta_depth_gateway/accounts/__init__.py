"""API keys, their credits and the requests' reservations: a database behind one class, `Ledger`."""

from insta_depth_gateway.accounts.database import connect, migrate
from insta_depth_gateway.accounts.ledger import Account, AccountSummary, KeyNotFound, KeyRefused, Ledger

__all__ = ["Account", "AccountSummary", "KeyNotFound", "KeyRefused", "Ledger", "connect", "migrate"]
