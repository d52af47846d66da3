"""A payment provider that pays nobody and misbehaves on purpose. `tallystick simulate-provider` runs it."""
