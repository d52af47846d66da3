"""What belongs to an installation and to no ledger of it: API keys, and the logs of others that it witnesses."""
