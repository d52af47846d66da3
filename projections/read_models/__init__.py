"""The read models: one module and one SQL file each, and the queries on them."""
