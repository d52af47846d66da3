"""The journal, its snapshots, and the work that the ledger has to do by itself."""

from collections.abc import Mapping

from scripts.doctor.catalogue.kind import TAMPERED, Kind

KINDS: Mapping[str, Kind] = {
    "hold_not_released": Kind(
        "error",
        "Its amounts stay held although it has expired.",
        "Check that an API process runs (`tallystick serve`), since its worker releases holds, and that the"
        " projection `due` keeps up.",
        ("tallystick trace {id} --ledger {ledger}",),
    ),
    "request_not_carried_out": Kind(
        "error",
        "It was accepted, and its client waits for the outcome.",
        "Check that an API process runs (`tallystick serve`), since its worker carries requests out, and that"
        " the projection `due` keeps up.",
        ("tallystick trace {id} --ledger {ledger}",),
    ),
    "bridge_unbalanced": Kind(
        "error",
        "What one ledger sent to the other is not what the other received: an amount is missing, or is there twice.",
        "Read the entries of the accounts `bridges:…` of both ledgers. An entry that no bridge has made was posted by"
        " hand, or reverses one: reverse it, or post its like in the other ledger. If a database was restored to an"
        " earlier moment, post again what it lost.",
        ("tallystick payouts list --ledger {sender}", "tallystick payouts list --ledger {receiver}"),
    ),
    "snapshot_differs": Kind(
        "error",
        "Accounts are loaded from it: decisions and answers may be wrong.",
        "Delete it, and restart the API processes. They then load the account from its events.",
        ("DELETE FROM snapshots WHERE originator_id = {stream};",),
    ),
    "journal_head_wrong": Kind(
        "error", "The next position would leave a gap, or is taken already.", TAMPERED
    ),
    "journal_position_gap": Kind("error", "Events are missing; projections halt there.", TAMPERED),
    "journal_version_gap": Kind("error", "Events of a stream are missing.", TAMPERED),
    "journal_time_reversed": Kind("error", "A later position has an earlier recorded time.", TAMPERED),
    "journal_event_unreadable": Kind(
        "error",
        "Neither accounts and transactions nor projections can be read beyond it.",
        f"A newer release may read it. {TAMPERED}",
    ),
    "journal_event_misplaced": Kind("error", "No ledger records events in this order.", TAMPERED),
    "journal_account_not_open": Kind(
        "error", "A closed or frozen account changed, or one was closed with a balance.", TAMPERED
    ),
    "journal_amount_out_of_range": Kind("error", "A total left its range.", TAMPERED),
    "journal_limit_broken": Kind("error", "An account went beyond its limits.", TAMPERED),
    "journal_totals_unbalanced": Kind("error", "Money appeared from nowhere, or vanished.", TAMPERED),
    "journal_transaction_unbalanced": Kind("error", "Money appeared from nowhere, or vanished.", TAMPERED),
    "journal_entries_unmatched": Kind(
        "error", "The entries of an account and of its transactions must match.", TAMPERED
    ),
    "journal_balance_after_wrong": Kind("error", "A statement would show a wrong balance.", TAMPERED),
    "journal_key_mismatch": Kind("error", "A request could be carried out twice.", TAMPERED),
    "journal_hold_misused": Kind("error", "A hold ended in a way that is not allowed.", TAMPERED),
    "journal_payout_unmatched": Kind(
        "error", "A payout and the transaction that books its money contradict each other.", TAMPERED
    ),
    "journal_settlement_exceeds_hold": Kind("error", "More was settled than was held.", TAMPERED),
    "journal_reversal_exceeds_original": Kind("error", "More was reversed than was posted.", TAMPERED),
    "journal_asset_conflict": Kind("error", "Amounts of different scales would be added up.", TAMPERED),
    "journal_checkpoint_unmatched": Kind(
        "error", "What was witnessed of another installation contradicts itself.", TAMPERED
    ),
    "journal_key_reused": Kind("error", "A request was carried out twice.", TAMPERED),
}
