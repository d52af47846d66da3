"""What is stuck: business states older than they should be, why, and what is safe to do about each.

`catalogue` says what there can be, `search` finds it.
"""
