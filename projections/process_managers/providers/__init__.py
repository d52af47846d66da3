"""Payment providers: what the ledger asks of one, how one is reached, and which there are.

To add a provider of another kind, write a module with a class that satisfies `interface.Provider` and is made from
`settings.ProviderSettings`, and name it in the settings: `"adapter": "package.module:Class"`. `http` is an example.
"""
