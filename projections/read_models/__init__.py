"""The read models: one module and one SQL file for each, and the queries on them."""
