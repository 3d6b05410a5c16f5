"""Metadata fields of data rows at Labelbox: found or made by name, and written."""

from labelbox import DataRowMetadata, DataRowMetadataField
from labelbox.schema.data_row_metadata import DataRowMetadataKind, DataRowMetadataOntology

from toolkit.labelbox_service.sending import SendingService

MOST_ROWS = 50
"""Rows in a call; the SDK itself sends no more."""


class MetadataService(SendingService):
    """Metadata fields, each a text."""

    def metadata_field(self, name: str) -> str | None:
        """Return the ID of a field of the organisation, None where there is none of this name."""
        fields = self._ontology().custom_fields
        return next((field.uid for field in fields if field.name == name), None)

    def create_metadata_field(self, name: str) -> str:
        """Make a field; return its ID."""
        ontology = self._ontology()
        return str(self.send(lambda: ontology.create_schema(name, DataRowMetadataKind.string)).uid)

    def write_metadata(self, field_id: str, values: dict[str, str]) -> dict[str, str]:
        """Write a field of data rows; return what Labelbox says of those that it did not write. May be repeated."""
        ontology = self._ontology()
        rows = [
            DataRowMetadata(data_row_id=row_id, fields=[DataRowMetadataField(schema_id=field_id, value=value)])
            for row_id, value in values.items()
        ]
        failed = self.ask(lambda: ontology.bulk_upsert(rows))
        return {str(each.data_row_id): self.safe(Exception(each.error or "no reason given")) for each in failed}

    def _ontology(self) -> DataRowMetadataOntology:
        """Return the organisation's fields as they are now: the SDK keeps those that it has once read."""
        ontology = self.ask(self.client.get_data_row_metadata_ontology)
        self.ask(ontology.refresh_ontology)
        return ontology
