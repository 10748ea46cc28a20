"""schemas.py OUT KUBERNETES CRD.yaml..: writes JSON schemas by the names that kubeconform asks for.

Those of the directory KUBERNETES are made to find each other as files, without a network; those of custom resources are made
of their definitions, and as strict: an API server drops a field that it does not know, they refuse it.
"""

import json
import pathlib
import sys

import yaml

ANY_OBJECT = {"type": "object"}
TOP = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": ANY_OBJECT, "status": ANY_OBJECT}


def strict(schema: dict) -> dict:
    """The schema with nothing allowed that it does not name; what OpenAPI says in extensions is said as JSON schema."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = dict(schema)
    if "items" in schema:
        made["items"] = strict(schema["items"])
    if "properties" in schema:
        made["properties"] = {name: strict(field) for name, field in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    if isinstance(schema.get("additionalProperties"), dict):
        made["additionalProperties"] = strict(schema["additionalProperties"])
    return made


def main(out: str, kubernetes: str, *files: str) -> None:
    for file in pathlib.Path(kubernetes).iterdir():
        schema = json.loads(file.read_text().replace('"/api/_definitions.json#', '"_definitions.json#'))
        schema.pop("$id", None)
        pathlib.Path(out, file.name).write_text(json.dumps(schema))
    definitions = (d for file in files for d in yaml.safe_load_all(pathlib.Path(file).read_text()) if d)
    for spec in (d["spec"] for d in definitions if d["kind"] == "CustomResourceDefinition"):
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            schema["properties"] = schema["properties"] | TOP
            name = "-".join([spec["names"]["kind"].lower(), spec["group"].split(".")[0], version["name"]])
            pathlib.Path(out, f"{name}.json").write_text(json.dumps(strict(schema)))


main(*sys.argv[1:])
