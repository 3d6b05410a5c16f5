"""Metadata written at Labelbox: a field made where there is none, then its values, some rows at a time."""

from functools import partial

from toolkit.labelbox_service.metadata import MetadataService
from toolkit.stages.push.metadata import MOST_ROWS, payload_of
from toolkit.stages.push.planned import Items
from toolkit.stages.push.sender import Sender, Step
from toolkit.workspace.pushes import PushCall, PushItem


def send_field(service: MetadataService, sender: Sender, field: str, items: Items) -> None:
    """Make a field where there is none, and write it."""
    sender.run(_field_step(service, field), [PushItem(field)], most=1)
    failed: dict[str, str] = {}

    def send(batch: Items) -> str:
        failed.clear()
        field_id = service.metadata_field(field) or ""
        failed.update(service.write_metadata(field_id, {str(i.image_id): str(i.value) for i in batch}))
        return field_id

    def end(call: PushCall) -> tuple[str, str | None, dict[str, list[str | None]]]:
        apart: dict[str, list[str | None]] = {
            item.item: ["failed", failed[item.image_id]] for item in call.items if item.image_id in failed
        }
        return "sent", None, apart

    payload = partial(payload_of, field)
    step = Step("metadata", field, payload=payload, send=send, found=lambda _: {}, end=end, repeatable=True)
    sender.run(step, items, most=MOST_ROWS)


def _field_step(service: MetadataService, field: str) -> Step:
    def found(_: Items) -> dict[str, str]:
        field_id = service.metadata_field(field)
        return {field: field_id} if field_id else {}

    return Step(
        "metadata_field",
        field,
        payload=lambda _: {"method": "create_schema", "name": field, "kind": "string"},
        send=lambda _: service.create_metadata_field(field),
        found=found,
        prepare=lambda items: [] if found(items) else items,
    )
