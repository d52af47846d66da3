"""What is stuck: business states older than they should be, with the reason and a remedy for each.

`catalogue` names the kinds, `search` finds them.
"""
