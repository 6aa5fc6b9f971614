"""The archive: unpacked and run, with the man pages and completions in it, as the formula and binstall name them."""

import json
import pathlib
import shutil
import tarfile
import tomllib

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from artefacts import checksums, formula, sbom
from artefacts.archive import stem
from artefacts.pack import sha256
from artefacts.project import NAME, REPOSITORY, ROOT, SHELLS, VERSION, download_url
from artefacts.targets import Target

from .home import Clock, empty_home, prove
from .table import Row


def trial(dist: pathlib.Path, target: Target) -> Row:
    """Tries all of it."""
    name = stem(target.triple)
    packed = dist / f"{name}.tar.gz"
    with empty_home() as home:
        clock = Clock()
        with tarfile.open(packed) as tar:
            tar.extractall(home.folder, filter="data")
        folder = home.folder / name
        home.answer(folder / NAME)
        row = Row("archive", "`tar xzf`, Homebrew, `cargo binstall`", clock.seconds, packed.stat().st_size)
        prove("archive: answers", True)
        shells = {path.name for path in (folder / "completions").iterdir()}
        prove("archive: has the completions of each shell", shells == set(SHELLS.values()), shells)
        for shell in ("bash", "zsh", "fish"):
            if shutil.which(shell, path=home.environment["PATH"]):
                home.run(shell, "-n", folder / "completions" / SHELLS[shell])
                prove(f"archive: {shell} can read its completions", True)
        pages = sorted(path.name for path in (folder / "man").iterdir())
        prove("archive: has man pages", f"{NAME}.1" in pages and f"{NAME}-call.1" in pages, pages)
    _binstall(target, packed)
    _formula(dist, packed)
    _bill(dist)
    listed = (dist / checksums.NAME).read_text()
    prove("checksums: list the archive", f"{sha256(packed)}  {packed.name}\n" in listed, listed)
    return row


def _binstall(target: Target, packed: pathlib.Path) -> None:
    declared = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["metadata"]["binstall"]

    def fill(text: str) -> str:
        values = {"repo": REPOSITORY, "version": VERSION, "target": target.triple, "bin": NAME, "binary-ext": ""}
        for name, value in values.items():
            text = text.replace(f"{{ {name} }}", value)
        return text

    url = fill(declared["pkg-url"])
    prove("cargo binstall: finds the archive", url == download_url(packed.name), url)
    with tarfile.open(packed) as tar:
        inside = fill(declared["bin-dir"])
        prove("cargo binstall: finds the binary in it", inside in tar.getnames(), inside)


def _formula(dist: pathlib.Path, packed: pathlib.Path) -> None:
    """A formula has the archives of macOS and the static ones; here it gets the one that there is."""
    with empty_home() as home:
        for _, _, triple in formula.PLACES:
            shutil.copy(packed, home.folder / f"{stem(triple)}.tar.gz")
        text = formula.formula(home.folder)
    prove("formula: has four archives", text.count(sha256(packed)) == 4 and text.count("url ") == 4, text)
    prove("formula: has the version", f'version "{VERSION}"' in text, text)


def _bill(dist: pathlib.Path) -> None:
    bill = json.loads((dist / f"{NAME}-{VERSION}.cdx.json").read_text())
    names = {component["name"] for component in bill["components"]}
    prove("bill of materials: has what is compiled in", {"rustls", "rmcp", "portkey-policy"} <= names, names)
    prove("bill of materials: has nothing of the tests", not {"criterion", "proptest"} & names, names)
    without = [each["name"] for each in bill["components"] if "licenses" not in each]
    prove("bill of materials: has every licence", not without, without)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill))
    prove("bill of materials: is valid CycloneDX", wrong is None, wrong)
