"""`python -m tests.gateway.hammer URL SECRET` uses a key as fast as it can until it is killed.

It writes a line after each request that it has spent.
"""

import random
import sys
from decimal import Decimal
from uuid import uuid4

from insta_depth_gateway.accounts import Ledger, connect

LEASE_S = 5


def main(url: str, secret: str) -> None:
    ledger = Ledger(connect(url), LEASE_S)
    account = ledger.find(secret)
    if account is None:
        raise SystemExit("the key is unknown")
    while True:
        reservation = uuid4().hex
        ledger.reserve(account, Decimal("0.1"), reservation)
        random.choice([ledger.renew, ledger.return_expired])()
        if random.random() < 0.3:
            ledger.give_back(reservation)
        elif ledger.spend(reservation):
            sys.stdout.write("spent\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
