"""Parts of the pages that are made from the code when the site is built (a hook of MkDocs).

A page asks for one in a comment of its own line:

    <!-- generated: commands -->         every command with its arguments and options
    <!-- generated: configuration -->    the keys of a configuration file
    <!-- generated: options memories mem0 -->   the options of one environment, memory or model
    <!-- generated: splits alfworld -->  the splits of an environment
    <!-- generated: tools agemem -->     the tools that a memory gives the agent
    <!-- generated: source FILE CLASS TITLE -->   a class of the checkout with its imports
"""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import typer
import typer.main

from agemem_eval.harness import registry
from agemem_eval.harness.cli import app
from agemem_eval.harness.config import AgentConfig, Execution, RunConfig
from agemem_eval.harness.options import accepted

ROOT = Path(__file__).resolve().parents[2]
_ASKED = re.compile(r"^<!-- generated: (?P<what>[a-z]+)(?P<rest>( [\w./-]+)*) -->$", re.MULTILINE)
_WORD = re.compile(r"<code>([^<\s]{1,32})</code>")
_ARGUMENT = re.compile(r"^(\w+): (.*)$")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs' hook: put the generated parts in the place of the comments that ask for them."""
    return filled(markdown)


def on_page_content(html: str, **_: Any) -> str:
    """MkDocs' hook: a name or a flag in the text is not broken at its hyphens."""
    return _WORD.sub(r'<code class="whole">\1</code>', html)


def filled(markdown: str) -> str:
    """A page with its generated parts.

    Raises:
        KeyError: for a part that nothing here makes.
    """

    def part(asked: re.Match[str]) -> str:
        return "\n".join(_PARTS[asked["what"]](*asked["rest"].split()))

    return _ASKED.sub(part, markdown)


# --- the command line -------------------------------------------------------------------------


class Parameter(NamedTuple):
    """An argument or an option of a command, as its function declares it."""

    name: str
    flags: tuple[str, ...]  # () for an argument
    kind: Any  # the type of its value
    default: Any  # `inspect.Parameter.empty` where it must be given
    help: str


def commands(group: typer.Typer = app, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every command that does something, by its words, as typer registered it."""
    found = {}
    for info in group.registered_commands:
        name = info.name or info.callback.__name__.replace("_", "-")
        found[" ".join((*path, name))] = info
    for sub in group.registered_groups:
        found |= commands(sub.typer_instance, (*path, sub.name))
    return found


def parameters(words: str) -> Iterator[Parameter]:
    """The arguments and options of a command: names and flags from typer, types as written."""
    command: Any = typer.main.get_command(app)
    for word in words.split():
        command = command.commands[word]
    function = commands()[words].callback
    kinds = typing.get_type_hints(function, include_extras=True)
    defaults = inspect.signature(function).parameters
    for made in command.params:
        kind = typing.get_args(kinds[made.name])[0]
        flags = (*made.opts, *made.secondary_opts) if made.param_type_name == "option" else ()
        yield Parameter(made.name, flags, kind, defaults[made.name].default, made.help or "")


def _commands() -> Iterator[str]:
    for words, info in commands().items():
        # An explicit anchor: `data get` and `runs list` keep theirs whatever makes slugs.
        yield f"## `agemem-eval {words}` {{ #{words.replace(' ', '-')} }}\n"
        yield f"{_prose(info.callback.__doc__)}\n"
        found = list(parameters(words))
        arguments = [p for p in found if not p.flags]
        options = [p for p in found if p.flags]
        if arguments:
            yield "| argument | meaning |\n|---|---|"
            for argument in arguments:
                many = "…" if typing.get_origin(_bare(argument.kind)) is list else ""
                told = "" if argument.default is inspect.Parameter.empty else " Optional."
                yield f"| `{argument.name.upper()}{many}` | {_cell(argument.help)}{told} |"
            yield ""
        if options:
            yield "| option | value | meaning |\n|---|---|---|"
            for option in options:
                flags = ", ".join(f"`{flag}`" for flag in option.flags)
                yield f"| {flags} | {_kind(option.kind)} | {_meaning(option)} |"
            yield ""


def _bare(kind: Any) -> Any:
    """A type without `| None`."""
    parts = [part for part in typing.get_args(kind) if part is not type(None)]
    return parts[0] if parts and typing.get_origin(kind) is not list else kind


def _kind(kind: Any) -> str:
    kind = _bare(kind)
    if typing.get_origin(kind) is list:
        return f"{_type(typing.get_args(kind)[0])}, repeatable"
    return "" if kind is bool else _type(kind)


def _meaning(option: Parameter) -> str:
    told, default = _cell(option.help), option.default
    if default is inspect.Parameter.empty:
        return f"{told} Required."
    if default is None or isinstance(default, bool) or "default" in told or "[" in told:
        return told
    return f"{told} Default: `{default}`."


# --- the configuration file -------------------------------------------------------------------

_NO_FLAG = {
    "options": "Options by the registered name they belong to: `{mem0: {top_k: 5}}`; as `-o`.",
    "agent": "A mapping of the keys of the agent; they may stand at the top as well.",
    "model_options": "Options of the model that change no number, such as timeouts; as `-o`.",
}
_FLAGS = {"envs": "env", "memories": "memory"}


def _configuration() -> Iterator[str]:
    flags = {option.name: option for option in parameters("run")}
    groups = (
        ("What decides the numbers", RunConfig),
        ("The agent", AgentConfig),
        ("How it is carried out", Execution),
    )
    for title, model in groups:
        yield f"### {title}\n"
        yield "| key | value | default | command line | meaning |\n|---|---|---|---|---|"
        for key, field in model.model_fields.items():
            option = flags.get(_FLAGS.get(key, key)) if key not in _NO_FLAG else None
            flag = f"`{option.flags[-1 if key != 'resume' else 0]}`" if option else "–"
            meaning = _cell(option.help) if option else _NO_FLAG[key]
            default = "required" if field.is_required() else _default(field.default)
            yield f"| `{key}` | {_value(field)} | {default} | {flag} | {meaning} |"
        yield ""


def _default(value: Any) -> str:
    if value is None or value == () or value == {} or isinstance(value, AgentConfig):
        return "–"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _value(field: Any) -> str:
    return _cell(_type(field.annotation))


def _type(kind: Any) -> str:
    """A type in words."""
    parts = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin is typing.Annotated:
        return _type(parts[0])
    if origin is tuple:
        return f"list of {_type(parts[0])}s"
    if origin is dict:
        return "mapping"
    if parts:  # a union
        return " or ".join(_type(part) for part in parts if part is not type(None))
    words = {"int": "whole number", "float": "number", "bool": "`true` or `false`", "str": "text"}
    return words.get(kind.__name__, {"Path": "path"}.get(kind.__name__, "mapping"))


# --- environments, memories, models -----------------------------------------------------------


def _options(group: registry.Group, name: str) -> Iterator[str]:
    cls = registry.load(group, name)
    told = {**_arguments(cls.__doc__), **_arguments(cls.__init__.__doc__)}
    for base in cls.__mro__[1:]:
        for key, text in _arguments(base.__doc__).items():
            told.setdefault(key, text)
    found = accepted(group, name)
    if not found:
        yield "None."
        return
    yield "| option | default | meaning |\n|---|---|---|"
    for key, default in found.items():
        shown = "–" if default in (None, "") else f"`{default}`"
        yield f"| `{key}` | {shown} | {_cell(told.get(key, ''))} |"


def _arguments(doc: str | None) -> dict[str, str]:
    """The section `Args:` of a docstring, by name."""
    _, _, section = inspect.cleandoc(doc or "").partition("Args:\n")
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if not line.startswith("    "):
            if line.strip():
                break
            continue
        start = _ARGUMENT.match(line[4:])
        if start:
            name, found[start[1]] = start[1], start[2]
        elif name:
            found[name] += " " + line.strip()
    return found


def _splits(name: str) -> Iterator[str]:
    spec = registry.load("envs", name).spec
    yield "| split | tasks | what it is |\n|---|---|---|"
    for split in spec.splits:
        mark = " (default)" if split.name == spec.default_split else ""
        n_tasks = "any" if split.n_tasks is None else split.n_tasks
        yield f"| `{split.name}`{mark} | {n_tasks} | {_cell(split.description)} |"


def _tools(*_: str) -> Iterator[str]:
    from agemem_eval.baselines.agemem_tools import make_tools

    yield "| tool | what it does | arguments |\n|---|---|---|"
    for tool in make_tools(3, True, True):
        keys = ", ".join(f"`{key}`" for key in tool.arguments.model_fields)
        yield f"| `{tool.name}` | {_cell(tool.description)} | {keys} |"


def _source(path: str, name: str, title: str) -> Iterator[str]:
    """A class as code that runs by itself: what of the file's imports it uses, and its text."""
    text = (ROOT / path).read_text(encoding="utf-8")
    body = ast.parse(text).body
    found = next(part for part in body if isinstance(part, ast.ClassDef) and part.name == name)
    used = {node.id for node in ast.walk(found) if isinstance(node, ast.Name)}
    yield f'<!-- run -->\n```python title="{title}"'
    imports = [part for part in body if isinstance(part, ast.Import | ast.ImportFrom)]
    for part in imports:
        part.names = [alias for alias in part.names if alias.name in used]
    imports = [part for part in imports if part.names]
    kinds = (isinstance(part, ast.ImportFrom) for part in imports)
    for part, ours in zip(imports, kinds, strict=True):
        if ours and part is next(i for i in imports if isinstance(i, ast.ImportFrom)):
            yield ""
        yield ast.unparse(part)
    yield f"\n\n{ast.get_source_segment(text, found)}\n```"


def _cell(text: str) -> str:
    """A text for a cell of a table: one line, nothing in it ends the cell or begins a tag."""
    text = " ".join(text.split()).replace("|", "\\|")
    parts = text.split("`")  # what stands in backticks is code, and needs no escape
    parts[::2] = [part.replace("<", "&lt;").replace("*", "\\*") for part in parts[::2]]
    return "`".join(parts)


def _prose(text: str | None) -> str:
    return _cell(text or "").replace("\\|", "|")


_PARTS: dict[str, Any] = {
    "commands": _commands,
    "configuration": _configuration,
    "options": _options,
    "source": _source,
    "splits": _splits,
    "tools": _tools,
}
