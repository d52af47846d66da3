"""What it is measured against: the least that such work could cost on the same machine."""
