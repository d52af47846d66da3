"""The routes, one module for each noun; `ENDPOINTS` are all of them, those most asked for first."""

from api.routes import (
    accounts,
    balances,
    entries,
    health,
    keys,
    ledgers,
    operations,
    pages,
    projections,
    transactions,
)

ENDPOINTS = [
    *transactions.ENDPOINTS,
    *accounts.ENDPOINTS,
    *entries.ENDPOINTS,
    *balances.ENDPOINTS,
    *operations.ENDPOINTS,
    *ledgers.ENDPOINTS,
    *keys.ENDPOINTS,
    *projections.ENDPOINTS,
    *health.ENDPOINTS,
    *pages.ENDPOINTS,
]
