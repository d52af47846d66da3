"""The routes, one module for each noun; `ENDPOINTS` are all of them, those most asked for first.

Only that `…/transactions/batch` comes before `…/transactions/{id}`, which would match it as well.
"""

from api.routes import (
    account_status,
    accounts,
    audit,
    balances,
    callbacks,
    dead_letters,
    deliveries,
    entries,
    events,
    health,
    keys,
    ledgers,
    operations,
    pages,
    payout_list,
    payouts,
    projection_rebuilds,
    projections,
    transaction_batches,
    transaction_list,
    transactions,
    webhooks,
)

ENDPOINTS = [
    *transaction_batches.ENDPOINTS,
    *transactions.ENDPOINTS,
    *accounts.ENDPOINTS,
    *account_status.ENDPOINTS,
    *entries.ENDPOINTS,
    *transaction_list.ENDPOINTS,
    *balances.ENDPOINTS,
    *payouts.ENDPOINTS,
    *payout_list.ENDPOINTS,
    *callbacks.ENDPOINTS,
    *events.ENDPOINTS,
    *operations.ENDPOINTS,
    *ledgers.ENDPOINTS,
    *audit.ENDPOINTS,
    *keys.ENDPOINTS,
    *projections.ENDPOINTS,
    *projection_rebuilds.ENDPOINTS,
    *dead_letters.ENDPOINTS,
    *webhooks.ENDPOINTS,
    *deliveries.ENDPOINTS,
    *health.ENDPOINTS,
    *pages.ENDPOINTS,
]
