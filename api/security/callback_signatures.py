"""The sender of a callback, known by its signature (Standard Webhooks). A provider needs no key to the API."""

from collections.abc import Mapping

from standardwebhooks import Webhook, WebhookVerificationError

from api.problems import PathNotFound, Unauthenticated
from api.security.keys import Key, keyless_caller
from projections.process_managers.payer import provider_actor
from projections.process_managers.providers.settings import ProviderSettings

SCHEME = "Webhook-Signature"
MESSAGE_ID = b"webhook-id"
MAX_MESSAGE_ID_LENGTH = 255
_HEADERS = (MESSAGE_ID, b"webhook-timestamp", b"webhook-signature")


class Signatures:
    """Verifies the signatures of providers."""

    def __init__(self, providers: Mapping[str, ProviderSettings]) -> None:
        self._webhooks = {name: Webhook(of.secret.get_secret_value()) for name, of in providers.items()}

    def require_known(self, provider: str) -> None:
        """Raise `PathNotFound` for a provider that is not configured, before anything that it sends is read."""
        if provider not in self._webhooks:
            raise PathNotFound

    def signatory(self, provider: str, headers: Mapping[bytes, bytes], body: bytes) -> Key:
        """Return the signer of a body as a caller without roles: it may only report on its own payouts.

        Raises `PathNotFound` for a provider that is not configured, then `Unauthenticated` if the signature is missing
        or wrong, or its time is more than five minutes off.
        """
        self.require_known(provider)
        given = {name.decode(): headers.get(name, b"").decode("latin-1") for name in _HEADERS}
        try:
            if len(given[MESSAGE_ID.decode()]) > MAX_MESSAGE_ID_LENGTH:
                raise WebhookVerificationError
            self._webhooks[provider].verify(body, given, json_parse=False)
        except (
            WebhookVerificationError,
            ValueError,
        ):  # ValueError: the signature is malformed
            raise Unauthenticated(
                "The callback is not signed by the provider, or was signed too long ago.",
                headers={"WWW-Authenticate": f'{SCHEME} realm="tallystick"'},
            ) from None
        return keyless_caller(provider_actor(provider))
