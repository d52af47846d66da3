"""`tallystick report`: the books and the journal as tables, CSV and JSON."""
