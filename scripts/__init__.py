"""The commands: the service itself, and the tools of those who operate it."""
