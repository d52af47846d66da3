"""The installation itself: health, metrics, keys, and the pages about the API."""
