"""The options that clients ask their users for, in the terms of each client."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Setting:
    """An option of the server that a client's form has."""

    name: str
    variable: str
    title: str
    description: str
    default: str | bool = ""
    sensitive: bool = False

    @property
    def kind(self) -> str:
        return "boolean" if isinstance(self.default, bool) else "string"


KEY = Setting(
    "api_key",
    "PORTKEY_API_KEY",
    "Portkey API key",
    "A key of the Admin API. Leave it empty and turn on Sandbox to try it without an account.",
    sensitive=True,
)
SURFACE = Setting(
    "surface",
    "PORTKEY_MCP_SURFACE",
    "Surface",
    "operations: one tool for each operation. compact: a short list of tools that find and call the others.",
    default="operations",
)
SETTINGS = (
    KEY,
    Setting(
        "sandbox",
        "PORTKEY_MCP_SANDBOX",
        "Sandbox",
        "Use an embedded Portkey with example data. It needs no key and no account.",
        default=False,
    ),
    Setting(
        "read_only",
        "PORTKEY_MCP_READ_ONLY",
        "Read-only",
        "Offer only tools that change nothing.",
        default=False,
    ),
    Setting(
        "toolsets",
        "PORTKEY_MCP_TOOLSETS",
        "Toolsets",
        "Domains whose tools are offered, such as prompts,configs. Empty: all of them.",
    ),
    SURFACE,
)


def form(surface: str = "operations") -> dict[str, dict]:
    """Returns the form as MCPB and Claude Code have it, with the surface that suits the client."""
    fields = {}
    for setting in SETTINGS:
        field: dict = {"type": setting.kind, "title": setting.title, "description": setting.description}
        # A form has no default for a secret.
        if setting.sensitive:
            field["sensitive"] = True
        else:
            field["default"] = surface if setting is SURFACE else setting.default
        fields[setting.name] = field | {"required": False}
    return fields


def environment() -> dict[str, str]:
    """Returns the variables with the values of that form. The server takes an empty one as unset."""
    return {setting.variable: f"${{user_config.{setting.name}}}" for setting in SETTINGS}
