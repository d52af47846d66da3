"""The parts of one running API process."""
