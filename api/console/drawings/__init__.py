"""Where things stand in the drawings of pages: pure functions from figures to coordinates. Templates draw them."""
