"""The journal as a file: written, verified, restored; the books as plain text."""
