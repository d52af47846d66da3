"""What commands do with the checkpoints that installations witness of each other."""
