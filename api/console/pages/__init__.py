"""One module for each kind of page: what it asks the API for, and what it shows. Its template has the same name."""
