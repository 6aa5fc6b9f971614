"""The bill of materials: every crate that is compiled into the binary, in the form of CycloneDX."""

import json
import os
import pathlib
import subprocess
import tomllib
import uuid

from .project import NAME, ROOT, VERSION
from .targets import TARGETS


def _metadata() -> dict:
    command = [os.environ.get("CARGO", "cargo"), "metadata", "--locked", "--format-version", "1"]
    for target in TARGETS:
        command += ["--filter-platform", target.triple]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return json.loads(done.stdout)


def _checksums() -> dict[tuple[str, str], str]:
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    return {(crate["name"], crate["version"]): crate["checksum"] for crate in locked if "checksum" in crate}


def _purl(crate: dict) -> str:
    return f"pkg:cargo/{crate['name']}@{crate['version']}"


def _component(crate: dict, checksums: dict[tuple[str, str], str]) -> dict:
    component = {
        "type": "application" if crate["name"] == NAME else "library",
        "bom-ref": _purl(crate),
        "name": crate["name"],
        "version": crate["version"],
        "purl": _purl(crate),
    }
    if licence := crate["license"]:
        # Old crates separate alternatives by a slash.
        component["licenses"] = [{"expression": licence.replace("/", " OR ")}]
    if checksum := checksums.get((crate["name"], crate["version"])):
        component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return component


def _used(node: dict) -> list[str]:
    # A kind of its own have dependencies of builds and of tests.
    return sorted({dep["pkg"] for dep in node["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])})


def bill() -> dict:
    """Returns the bill of all platforms together; crates that only build or test the binary are left out."""
    metadata = _metadata()
    crates = {crate["id"]: crate for crate in metadata["packages"]}
    used = {node["id"]: _used(node) for node in metadata["resolve"]["nodes"]}
    root = next(id for id, crate in crates.items() if crate["name"] == NAME and crate["source"] is None)
    reached, waiting = {root}, [root]
    while waiting:
        new = set(used[waiting.pop()]) - reached
        reached |= new
        waiting += new
    checksums = _checksums()
    order = sorted(reached, key=lambda id: (crates[id]["name"], crates[id]["version"]))
    components = [_component(crates[id], checksums) for id in order]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # The same for the same crates, so that a build can be repeated.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(components))}",
        "version": 1,
        "metadata": {"component": next(each for each in components if each["type"] == "application")},
        "components": [each for each in components if each["type"] == "library"],
        "dependencies": [
            {"ref": _purl(crates[id]), "dependsOn": [_purl(crates[dep]) for dep in used[id]]} for id in order
        ],
    }


def write_bill(folder: pathlib.Path) -> pathlib.Path:
    """Writes the bill."""
    file = folder / f"{NAME}-{VERSION}.cdx.json"
    file.write_text(json.dumps(bill(), indent=1) + "\n")
    return file
