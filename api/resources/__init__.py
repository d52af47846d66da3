"""One folder for each resource: routes, schemas, answers and examples. `ENDPOINTS` lists all routes, the busiest first.

The routes of a module follow each other as they stand in it. `…/transactions/batch` comes before
`…/transactions/{id}`, which would match it too.
"""

from api.http.endpoint import Endpoint
from api.resources.accounts import balance_routes as balances
from api.resources.accounts import entry_routes as entries
from api.resources.accounts import routes as accounts
from api.resources.accounts import status_routes as account_status
from api.resources.installation import health_routes as health
from api.resources.installation import installation_routes as installations
from api.resources.installation import key_routes as keys
from api.resources.installation import page_routes as pages
from api.resources.journal import audit_routes as audit
from api.resources.journal import event_routes as events
from api.resources.ledgers import routes as ledgers
from api.resources.operations import routes as operations
from api.resources.operations import stuck_routes as stuck
from api.resources.operations import trace_routes as traces
from api.resources.payouts import callback_routes as callbacks
from api.resources.payouts import list_routes as payout_list
from api.resources.payouts import routes as payouts
from api.resources.projections import dead_letter_routes as dead_letters
from api.resources.projections import rebuild_routes as projection_rebuilds
from api.resources.projections import routes as projections
from api.resources.transactions import batch_routes as transaction_batches
from api.resources.transactions import list_routes as transaction_list
from api.resources.transactions import routes as transactions
from api.resources.webhooks import delivery_routes as deliveries
from api.resources.webhooks import routes as webhooks

ENDPOINTS = [
    endpoint
    for module in (
        transaction_batches,
        transactions,
        accounts,
        account_status,
        entries,
        transaction_list,
        balances,
        payouts,
        payout_list,
        callbacks,
        events,
        operations,
        traces,
        ledgers,
        audit,
        keys,
        projections,
        projection_rebuilds,
        dead_letters,
        stuck,
        webhooks,
        deliveries,
        installations,
        health,
        pages,
    )
    for endpoint in vars(module).values()
    if isinstance(endpoint, Endpoint)
]
