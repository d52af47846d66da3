"""How figures are reported, and the machine that gave them."""
