"""`tallystick doctor`: examines an installation and says what is wrong, why it matters, and what to do about it."""
