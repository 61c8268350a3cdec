"""A checkpoint's tokenizer and chat template, as transformers reads them, without it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
import jinja2.utils
from tokenizers import AddedToken

from ...errors import DataError
from ...files import read_json
from ...tokens import read_tokenizer
from ..inprocess.chat import TODAY, read_template

_NAMED = (
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
)  # fmt: skip


class FileTokenizer:
    """`tokenizer.json`, and what `tokenizer_config.json` adds to it.

    Its methods are those that `Chat` uses of a tokenizer of transformers.

    Args:
        folder: Of the checkpoint.

    Raises:
        DataError: for files that are missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        config = _object(folder / "tokenizer_config.json", needed=False)
        more = {}
        if "added_tokens_decoder" not in config:
            more = _object(folder / "special_tokens_map.json", needed=False)
        self._tokenizer = read_tokenizer(folder / "tokenizer.json")
        config = {**config, **more}
        known = {str(token): token for token in self._tokenizer.get_added_tokens_decoder().values()}
        named = {name: _token(config[name], known) for name in _NAMED if config.get(name)}
        self._named = {name: str(token) for name, token in named.items()}
        extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or ()
        others = [_token(t, known) for t in (extra.values() if isinstance(extra, dict) else extra)]
        # as transformers has it: a token that is there already is made special only by its name
        special = [*named.values(), *(token for token in others if str(token) not in known)]
        if special:  # so that they are left out of what a reply says
            self._tokenizer.add_special_tokens(special)
        self.chat_template = _template(folder, config)
        self.size = max(self._tokenizer.get_vocab().values(), default=-1) + 1

    @property
    def end(self) -> int | None:
        """The id of the token that ends a text, where one is named."""
        token = self._named.get("eos_token")
        return self._tokenizer.token_to_id(token) if token is not None else None

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """A text as token ids."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def decode(
        self,
        ids: Sequence[int],
        *,
        skip_special_tokens: bool,
        clean_up_tokenization_spaces: bool,  # noqa: ARG002 - what byte-level tokenizers never do
    ) -> str:
        """Token ids as text."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def get_vocab(self) -> dict[str, int]:
        """The tokens as the file writes them, with their ids."""
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        return vocabulary

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Tokens that stand beside the vocabulary's own, by id."""
        added: dict[int, AddedToken] = self._tokenizer.get_added_tokens_decoder()
        return added

    def get_chat_template(self, chat_template: str | None, tools: list[Any] | None) -> str:
        """The template given, else the checkpoint's, which may have another one for tools.

        Raises:
            ValueError: if it has several, and none of them is for this.
        """
        if chat_template is not None:
            return chat_template
        if not isinstance(self.chat_template, dict):
            return self.chat_template or ""
        for name in ("tool_use", "default") if tools is not None else ("default",):
            if name in self.chat_template:
                return self.chat_template[name]
        raise ValueError(f"it has templates {sorted(self.chat_template)}, and no default")

    def apply_chat_template(
        self,
        conversation: list[dict[str, Any]],
        *,
        tools: list[Any] | None,
        chat_template: str,
        add_generation_prompt: bool,
        tokenize: bool,
        return_dict: bool,  # noqa: ARG002 - never one
        **arguments: Any,
    ) -> Any:
        """The prompt of a conversation as text, or as token ids where `tokenize`."""
        text = _compiled(chat_template).render(
            messages=[{k: v for k, v in m.items() if v is not None} for m in conversation],
            tools=tools,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **{**self._named, **arguments},
        )
        return self.encode(text, add_special_tokens=False) if tokenize else text


def stop_ids(folder: Path, tokenizer: FileTokenizer) -> tuple[int, ...]:
    """Token ids that end a reply: of `generation_config.json`, else of the config or tokenizer.

    Raises:
        DataError: for a file that is damaged.
    """
    path = folder / "generation_config.json"
    given = _object(path if path.is_file() else folder / "config.json").get("eos_token_id")
    if given is None:
        given = tokenizer.end
    ids = given if isinstance(given, list) else [given] if given is not None else []
    if any(type(id_) is not int for id_ in ids):
        raise DataError(f"{path}: eos_token_id is no token id, nor a list of them")
    return tuple(sorted(set(ids)))


def _object(path: Path, *, needed: bool = True) -> dict[str, Any]:
    if not needed and not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path} is no JSON object")
    return value


def _token(value: Any, known: dict[str, AddedToken]) -> AddedToken:
    """A special token of the config: text, or an object of its fields."""
    fields = value if isinstance(value, dict) else {"content": value}
    text = fields.get("content")
    if not isinstance(text, str) or not text:
        raise DataError(f"tokenizer_config.json names a token that is no text: {value!r}")
    if text in known:
        return known[text]
    sides = {key: bool(fields.get(key)) for key in ("lstrip", "rstrip", "single_word")}
    return AddedToken(text, special=True, normalized=bool(fields.get("normalized")), **sides)


def _template(folder: Path, config: dict[str, Any]) -> str | dict[str, str] | None:
    """The chat template, or several by name; None if there is none."""
    found: dict[str, str] = {}
    if (folder / "chat_template.jinja").is_file():
        found["default"] = read_template(folder / "chat_template.jinja")
    for file in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        found[file.stem] = read_template(file)
    if not found:
        said = config.get("chat_template")
        if said is None or isinstance(said, str):
            return said
        try:
            found = {str(item["name"]): str(item["template"]) for item in said}
        except (TypeError, KeyError) as error:
            raise DataError(f"{folder / 'tokenizer_config.json'}: no chat_template") from error
    return found["default"] if list(found) == ["default"] else found


# --- templates ----------------------------------------------------------------------------------


class _Namespace(jinja2.utils.Namespace):
    """Variables of a template; names with an underscore first could lead out of the sandbox."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a variable may not be called {name!r}")
        super().__setitem__(name, value)


class _Generation(jinja2.ext.Extension):
    """`{% generation %}`, which marks what an assistant says: here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - so jinja2 declares it

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        """A scope with what stands between the two tags."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is, not escaped for HTML as jinja2's own filter does."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _namespace(*args: Any, **variables: Any) -> _Namespace:
    made = _Namespace()
    for name, value in dict(*args, **variables).items():
        made[name] = value
    return made


def _dict(*args: Any, **items: Any) -> dict[Any, Any]:
    return dict(*args, **items)


@lru_cache(maxsize=16)
def _compiled(template: str) -> jinja2.Template:
    """A template in a sandbox, with what transformers gives templates."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {
        "raise_exception": _raise,
        "strftime_now": TODAY.strftime,
        "namespace": _namespace,
        "dict": _dict,
    }
    return environment.from_string(template)
