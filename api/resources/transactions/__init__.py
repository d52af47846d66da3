"""Transactions: posting, holding, settling, voiding and reversing, one by one or in batches."""
