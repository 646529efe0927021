"""What a route that decodes its body itself says of it in the OpenAPI description."""

from typing import Any

import msgspec


def request_body(*types: type[msgspec.Struct], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """For `openapi_extra`: a JSON body of any of these types. The fields named `optional` may be left out."""
    schemas = [_schema(one, optional) for one in types]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _schema(kind: type[msgspec.Struct], optional: tuple[str, ...]) -> dict[str, Any]:
    found = msgspec.json.schema(kind)
    parts = found.pop("$defs")
    schema: dict[str, Any] = _inlined(found, parts)
    return {**schema, "required": [name for name in schema.get("required", []) if name not in optional]}


def _inlined(value: Any, parts: dict[str, Any]) -> Any:
    """Without references: they would be looked up in the whole description, where the parts are not."""
    if isinstance(value, list):
        return [_inlined(item, parts) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _inlined(parts[value["$ref"].removeprefix("#/$defs/")], parts)
    return {key: _inlined(item, parts) for key, item in value.items()}
