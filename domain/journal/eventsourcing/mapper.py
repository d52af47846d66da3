"""The library's mapper between stored events and this project's events."""

from typing import Any

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, MapperDeserialisationError, Notification, StoredEvent

from domain.journal.encoding import UnreadableEvent, decode, encode_envelope, encode_event
from domain.model.events import Recorded


class JournalMapper(Mapper[str]):
    """Maps `Recorded` events. Topics are explicit (`account.opened`); module paths are never stored."""

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        """Return the stored form of a `Recorded` event, compressed and encrypted as configured."""
        assert isinstance(domain_event, Recorded)
        state = encode_event(domain_event.event, encode_envelope(domain_event.envelope))
        if self.compressor:
            state = self.compressor.compress(state)
        if self.cipher:
            state = self.cipher.encrypt(state)
        return StoredEvent(domain_event.stream, domain_event.version, domain_event.event.TOPIC, state)

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """Return a stored event as `Recorded`. Its position is 0 unless it comes as a notification.

        Raises `MapperDeserialisationError` if this release cannot read the event.
        """
        position = stored_event.id if isinstance(stored_event, Notification) else 0
        state = stored_event.state
        try:
            if self.cipher:
                state = self.cipher.decrypt(state)
            if self.compressor:
                state = self.compressor.decompress(state)
            return decode(
                str(stored_event.originator_id),
                stored_event.originator_version,
                stored_event.topic,
                state,
                position,
            )
        except UnreadableEvent as error:
            raise MapperDeserialisationError(str(error)) from error
