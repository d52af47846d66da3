"""The read side: read models that can be lost and rebuilt from the journal, and the programs that act on them."""
