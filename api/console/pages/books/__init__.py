"""The pages of a ledger's books: accounts, transactions and balances."""
