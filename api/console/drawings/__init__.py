"""Drawings as SVG: pure functions that place marks; the templates draw them."""
