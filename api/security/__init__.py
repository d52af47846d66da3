"""Who may call: keys, roles, and signatures of callbacks."""
