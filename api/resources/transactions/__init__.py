"""Transactions: post, hold, settle, void and reverse, one by one or in batches."""
