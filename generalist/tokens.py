"""The vocabulary: text, coordinates, mask and depth codes, structure, in one id space.

Text tokens keep the ids of the tokenizer they come from, and the visual tokens are added
behind them; so a base model from the hub keeps its vocabulary and gains ours (``TextBase`` says
what it brings along). Every block is found by *name*, never by arithmetic on an assumed order.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from generalist.types import GeneralistError

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
IMAGE = "<image>"
SYSTEM, USER, ASSISTANT = "<system>", "<user>", "<assistant>"
TASK_OPEN, TASK_CLOSE = "<Task>", "</Task>"
PHRASE_OPEN, PHRASE_CLOSE = "<Phrase>", "</Phrase>"
UNIT_OPEN, UNIT_CLOSE = "<Unit>", "</Unit>"
DOC_OPEN, DOC_CLOSE = "<doc>", "</doc>"
REF = "<REF>"

STRUCTURE: tuple[str, ...] = (
    *(PAD, BOS, EOS, IMAGE, SYSTEM, USER, ASSISTANT, TASK_OPEN, TASK_CLOSE, PHRASE_OPEN),
    *(PHRASE_CLOSE, UNIT_OPEN, UNIT_CLOSE, DOC_OPEN, DOC_CLOSE, REF),
)
MAX_REFS = 64
_FILE = "vocabulary.json"


def _byte_alphabet() -> dict[str, int]:
    """The byte that each character of a byte-level BPE token stands for."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(0x100) if b not in visible]
    return {chr(b): b for b in visible} | {chr(0x100 + n): b for n, b in enumerate(hidden)}


_BYTE_OF = _byte_alphabet()
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")  # how a SentencePiece vocabulary names a byte


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBase:
    """The language model that a vocabulary was appended to, as far as tokens go.

    ``tokens``: how many it has of its own. ``names``: those that stand for a name of ``STRUCTURE``, such as
    {"<eos>": "<|im_end|>"}. ``ends``: names of all that end its replies. ``chat_template``: its own, in Jinja, with
    the ``variables`` that it reads ("bos_token"); conversations without images are written in it.
    """

    tokens: int
    names: Mapping[str, str] = field(default_factory=dict)
    ends: Sequence[str] = ()
    chat_template: str
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularySizes:
    """How many tokens each visual block has; part of a checkpoint's identity.

    ``locs`` bins a coordinate; ``mask_codes`` entries for each of ``mask_length`` codes of a mask;
    ``depth_codes`` entries for each cell of a ``depth_grid`` x ``depth_grid`` raster.
    """

    locs: int = 1024
    mask_codes: int = 128
    mask_length: int = 16
    depth_codes: int = 256
    depth_grid: int = 8

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, int) or value < 1:
                raise GeneralistError(f"vocabulary size {name} is {value!r}; use a whole number above 0")

    def block_names(self) -> dict[str, list[str]]:
        """The token names of every visual block, in code order."""
        return {
            "ref": [f"[{k}]" for k in range(MAX_REFS)],
            "loc": [f"<loc_{k:04d}>" for k in range(self.locs)],
            "mask": [f"<mask_{k:03d}>" for k in range(self.mask_codes)],
            "depth": [f"<depth_{k:03d}>" for k in range(self.depth_codes)],
        }


class Vocabulary:
    """Text tokenizer plus visual blocks.

    ``loc``, ``mask``, ``depth``, ``ref`` are ``range``s of token ids; ``structure`` maps a name such
    as ``"<Unit>"`` to its id; ``ends`` are the ids that end a reply, ``eos`` is the one that we write. ``base`` is the
    language model that the text tokens come from, None where they were made for this vocabulary.
    Raises :class:`GeneralistError` when the tokenizer lacks a token.
    """

    def __init__(self, tokenizer: Tokenizer, sizes: VocabularySizes, base: TextBase | None = None) -> None:
        self.tokenizer = tokenizer
        self.sizes = sizes
        self.base = base
        # A user who types "<loc_0001>" must get those characters, not a coordinate.
        self.tokenizer.encode_special_tokens = True
        self._bytes: dict[int, bytes] = {}
        own = {} if base is None else base.names
        self.structure = {name: self._id(own.get(name, name)) for name in STRUCTURE}
        blocks = sizes.block_names()
        self.ref = self._block(blocks["ref"])
        self.loc = self._block(blocks["loc"])
        self.mask = self._block(blocks["mask"])
        self.depth = self._block(blocks["depth"])
        self.open_paren, self.close_paren = self._single("("), self._single(")")
        self.eos, self.pad, self.image = (self.structure[n] for n in (EOS, PAD, IMAGE))
        self.ends = frozenset((self.eos, *(self._id(name) for name in (() if base is None else base.ends))))

    @classmethod
    def extend(cls, tokenizer: Tokenizer, sizes: VocabularySizes, base: TextBase | None = None) -> Vocabulary:
        """Add whatever visual and structure tokens ``tokenizer`` lacks, then wrap it."""
        structure = STRUCTURE if base is None else [name for name in STRUCTURE if name not in base.names]
        names = [*structure, *(n for block in sizes.block_names().values() for n in block)]
        tokenizer.add_special_tokens([AddedToken(n, special=True, normalized=False) for n in names])
        return cls(tokenizer, sizes, base)

    # --- text ---

    def encode_text(self, text: str) -> list[int]:
        """Text token ids of ``text``; never a special token, whatever the text says.

        Raises :class:`GeneralistError` for a lone surrogate, which no encoding can write.
        """
        self.check_text(text)
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def check_text(self, text: str) -> None:
        """Raises :class:`GeneralistError` for a lone surrogate, which no encoding can write."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            bad = text[error.start]
            raise GeneralistError(f"the text holds {bad!r}, which is not Unicode text; remove it") from error

    def decode_text(self, ids: Iterable[int]) -> str:
        """The text of text token ids; bytes that are not UTF-8 become U+FFFD."""
        return str(self.tokenizer.decode([int(i) for i in ids], skip_special_tokens=True))

    def text_bytes(self, token_id: int) -> bytes | None:
        """The bytes of a text token, which may be part of a UTF-8 character; None for any other integer."""
        if token_id not in self._bytes:
            if not self.is_text(token_id):
                return None
            name = self.tokenizer.id_to_token(token_id) or ""
            self._bytes[token_id] = self._read_name(name)
        return self._bytes[token_id]

    def _read_name(self, name: str) -> bytes:
        if self._is_sentencepiece:
            byte = _BYTE_TOKEN.fullmatch(name)
            return bytes.fromhex(byte[1]) if byte else name.replace("\u2581", " ").encode()
        known = all(c in _BYTE_OF for c in name)
        return bytes(_BYTE_OF[c] for c in name) if known else name.encode()

    @cached_property
    def _is_sentencepiece(self) -> bool:
        return self.tokenizer.token_to_id("<0x0A>") is not None

    @cached_property
    def base_tokenizer(self) -> Tokenizer:
        """The tokenizer of the ``base`` as it was, its own special tokens recognised in a text, ours not."""
        assert self.base is not None
        content = json.loads(self.tokenizer.to_str())
        content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] < self.base.tokens]
        return Tokenizer.from_str(json.dumps(content))

    def is_text(self, token_id: int) -> bool:
        return 0 <= token_id < self.size and token_id not in self.special_ids

    def name(self, token_id: int) -> str:
        """A readable name for any integer, also one outside the vocabulary."""
        name = self.tokenizer.id_to_token(token_id) if 0 <= token_id < self.size else None
        return f"id {token_id}" if name is None else name

    # --- coordinates ---

    def loc_bin(self, value: float) -> int:
        """Bin of a coordinate in 0-1: floor(v * N), the right edge in the last bin."""
        return min(max(int(value * self.sizes.locs), 0), self.sizes.locs - 1)

    def loc_value(self, bin_index: int) -> float:
        """Centre of a bin: (bin + 0.5) / N."""
        return (bin_index + 0.5) / self.sizes.locs

    # --- identity ---

    @cached_property
    def size(self) -> int:
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Every id that is not text."""
        added = self.tokenizer.get_added_tokens_decoder()
        return frozenset(i for i, token in added.items() if token.special)

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits that identify what every id means."""
        table = sorted(self.tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda item: item[1])
        identity: list[Any] = [table, asdict(self.sizes)]
        if self.base is not None:
            identity.append([dict(self.base.names), list(self.base.ends)])
        content = json.dumps(identity, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and ``vocabulary.json``."""
        self.tokenizer.save(str(folder / "tokenizer.json"))
        content: dict[str, Any] = {**asdict(self.sizes), "hash": self.hash}
        if self.base is not None:
            content["base"] = asdict(self.base)
        (folder / _FILE).write_text(json.dumps(content, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """Read what :meth:`save` wrote; raises :class:`GeneralistError` when it is missing or altered."""
        try:
            content = json.loads((folder / _FILE).read_text())
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            expected = content.pop("hash")
            base = content.pop("base", None)
            vocabulary = cls(tokenizer, VocabularySizes(**content), None if base is None else TextBase(**base))
        except GeneralistError:
            raise
        except Exception as error:  # tokenizers raises bare Exception; JSON and OS errors come here too
            raise GeneralistError(
                f"{folder}: cannot read the vocabulary ({error}); use a complete checkpoint"
            ) from error
        if vocabulary.hash != expected:
            raise GeneralistError(
                f"{folder}: vocabulary hash is {vocabulary.hash}, the checkpoint was made with {expected}; "
                "restore its tokenizer.json and vocabulary.json"
            )
        return vocabulary

    def _id(self, name: str) -> int:
        token_id = self.tokenizer.token_to_id(name)
        if token_id is None:
            raise GeneralistError(f"the tokenizer has no token {name!r}; make it with Vocabulary.extend")
        return int(token_id)

    def _block(self, names: Sequence[str]) -> range:
        ids = [self._id(n) for n in names]
        if ids != list(range(ids[0], ids[0] + len(ids))):
            raise GeneralistError(f"tokens {names[0]} to {names[-1]} are not consecutive in the tokenizer")
        return range(ids[0], ids[0] + len(ids))

    def _single(self, text: str) -> int:
        ids = self.encode_text(text)
        if len(ids) != 1:
            raise GeneralistError(f"the tokenizer splits {text!r} into {len(ids)} tokens; a byte-level BPE is needed")
        return ids[0]
