"""What of a recipe says which model is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """A section without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """In YAML `on` and `yes` are true, which would be taken for 1."""
        if (
            isinstance(value, bool)
            and cls.model_fields[str(info.field_name)].annotation is not bool
        ):
            raise ValueError(f"it is no switch, to be {str(value).lower()}")
        return value


class Fresh(Strict):
    """A model made from nothing: a byte-level BPE tokenizer and random weights."""

    architecture: Literal["llama", "qwen2", "qwen3"] = "llama"
    vocabulary: int = Field(2048, ge=300, le=65_536)  # most tokens of the tokenizer
    hidden: int = Field(128, ge=8)
    layers: int = Field(4, ge=1)
    heads: int = Field(4, ge=1)
    kv_heads: int = Field(2, ge=1)
    inner: int = Field(384, ge=8)
    positions: int = Field(4096, ge=256)
    style: Literal["compact", "chatml"] = "compact"  # the chat template it is given
    deviation: float = Field(0.02, gt=0, le=1)  # of the random weights
    looks_back: bool = False  # whether a head begins by attending to the token before each

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.hidden % self.heads or self.heads % self.kv_heads:
            raise ValueError("hidden must be a multiple of heads, and heads of kv_heads")
        if self.looks_back and self.architecture == "qwen3":
            raise ValueError("looks_back: not of qwen3, which scales queries and keys by itself")
        return self


class Lora(Strict):
    """A low-rank adapter (arXiv 2106.09685); the reference is the model without it."""

    rank: int = Field(32, ge=1, le=1024)
    alpha: float = Field(32, gt=0)
    dropout: Share = 0.0
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"


class ModelRecipe(Strict):
    """What is trained. Exactly one of `path` and `fresh`."""

    path: str | None = None  # a folder, or a name of the Hugging Face hub
    fresh: Fresh | None = None
    lora: Lora | None = None  # None: all weights
    dtype: Literal["float32", "bfloat16"] = "float32"  # bfloat16: forwards of training in it
    gradient_checkpointing: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = Field(None, ge=1, le=1024)
    trust_remote_code: bool = False

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.path is None) == (self.fresh is None):
            raise ValueError("name either path or fresh, the model's origin")
        return self
