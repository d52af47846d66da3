"""Payment providers: what the ledger asks of a provider, how one is reached, and which are configured.

To add another kind of provider, write a module with a class that satisfies `interface.Provider` and can be constructed
from `settings.ProviderSettings`. Name it in the settings: `"adapter": "package.module:Class"`. `http` is an example.
"""
