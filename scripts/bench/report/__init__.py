"""What is told of the figures, and of the machine that gave them."""
