"""The description of the API that Google's generic client reads before it uploads a file."""

from __future__ import annotations

from typing import Any

_STRING = {"type": "string"}
_PARAMETERS = {
    name: {"type": kind, "location": "query", "description": description}
    for name, kind, description in (
        ("key", "string", "API key."),
        ("access_token", "string", "OAuth access token."),
        ("alt", "string", "Data format for response."),
        ("fields", "string", "Selector specifying which fields to include."),
        ("prettyPrint", "boolean", "Returns response with indentations and line breaks."),
        ("quotaUser", "string", "Available to use for quota purposes."),
        ("uploadType", "string", 'Upload protocol, such as "media" or "multipart".'),
        ("upload_protocol", "string", 'Upload protocol, such as "raw" or "multipart".'),
    )
}
_FILE = {
    "name": _STRING,
    "displayName": _STRING,
    "mimeType": _STRING,
    "sizeBytes": {"type": "string", "format": "int64", "readOnly": True},
    "createTime": {"type": "string", "format": "google-datetime", "readOnly": True},
    "updateTime": {"type": "string", "format": "google-datetime", "readOnly": True},
    "expirationTime": {"type": "string", "format": "google-datetime", "readOnly": True},
    "sha256Hash": {"type": "string", "format": "byte", "readOnly": True},
    "uri": {"type": "string", "readOnly": True},
    "state": {"type": "string", "readOnly": True},
}
_UPLOAD = {
    "id": "generativelanguage.media.upload",
    "path": "v1beta/files",
    "flatPath": "v1beta/files",
    "httpMethod": "POST",
    "parameters": {},
    "parameterOrder": [],
    "supportsMediaUpload": True,
    "mediaUpload": {
        "accept": ["*/*"],
        "maxSize": "2147483648",
        "protocols": {
            "simple": {"multipart": True, "path": "/upload/v1beta/files"},
            "resumable": {"multipart": True, "path": "/resumable/upload/v1beta/files"},
        },
    },
    "request": {"$ref": "CreateFileRequest"},
    "response": {"$ref": "CreateFileResponse"},
    "description": "Creates a `File`.",
}


def _schema(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "type": "object", "properties": properties}


def document(root: str) -> dict[str, Any]:
    """The discovery document of a server.

    Args:
        root: The server's URL, with a slash at its end.
    """
    return {
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": "generativelanguage:v1beta",
        "name": "generativelanguage",
        "version": "v1beta",
        "title": "Generative Language API",
        "protocol": "rest",
        "rootUrl": root,
        "baseUrl": root,
        "basePath": "",
        "servicePath": "",
        "batchPath": "batch",
        "parameters": _PARAMETERS,
        "resources": {"media": {"methods": {"upload": _UPLOAD}}},
        "schemas": {
            "File": _schema("File", _FILE),
            "CreateFileRequest": _schema("CreateFileRequest", {"file": {"$ref": "File"}}),
            "CreateFileResponse": _schema("CreateFileResponse", {"file": {"$ref": "File"}}),
        },
    }
