"""How figures are reported and compared, and the machine that gave them."""
