"""Actions: forms that send one request to the API, after saying what will happen; and which of them is safe next."""
