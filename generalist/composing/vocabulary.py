"""Our tokens behind those of a language model, and how that one is spoken to."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

from generalist.chat_template import PLAIN, render
from generalist.composing.parents import Language
from generalist.tokens import BOS, EOS, STRUCTURE, TextBase, Vocabulary, VocabularySizes
from generalist.types import GeneralistError

_PROBES = (
    "box",
    " depth",
    "The dog (on a sofa) is asleep.",
    "12 boxes\n- Name: a[0] Unit: <b>",
    "été 東京 🙂\t\n\n  x ",
)


def join_vocabulary(language: Language, sizes: VocabularySizes) -> Vocabulary:
    """The tokens of ``language`` with the same ids, then ours; plain text is tokenized as before.

    Raises :class:`GeneralistError` for a tokenizer that cannot be extended so.
    """
    where = f"--llm {language.name}"
    own = language.tokenizer.backend_tokenizer
    tokenizer = Tokenizer.from_str(own.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    known = tokenizer.get_vocab(with_added_tokens=True)
    if max(known.values()) + 1 != len(known):
        raise GeneralistError(f"{where}: its {len(known)} tokens have gaps in their ids; give another model")
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    ours = [*STRUCTURE, *(name for block in sizes.block_names().values() for name in block)]
    if taken := [name for name in ours if name in known and name not in special]:
        raise GeneralistError(f"{where}: its tokenizer writes text with {taken[0]!r}, a token of ours; give another")
    base = _base(language, len(known), special)
    try:
        vocabulary = Vocabulary.extend(tokenizer, sizes, base)
    except GeneralistError as error:
        raise GeneralistError(f"{where}: {error}") from error
    _check_text(where, own, vocabulary)
    return vocabulary


def _base(language: Language, tokens: int, special: set[str]) -> TextBase:
    tokenizer = language.tokenizer
    variables = {
        f"{name}_token": str(token)
        for name in ("bos", "eos", "pad", "unk")
        if (token := getattr(tokenizer, f"{name}_token", None)) is not None
    }
    template = tokenizer.chat_template
    if isinstance(template, dict):  # several by name
        template = template.get("default") or next(iter(template.values()))
    if not template:
        template = _plain(tokenizer)
    spoken = TextBase(tokens=tokens, chat_template=template, variables=variables)
    ends = [name for name in _ends(language) if name in special]
    closing = _closing(spoken, tokenizer) or (
        variables.get("eos_token") if variables.get("eos_token") in special else None
    )
    names = {} if closing is None else {EOS: closing}
    bos = variables.get("bos_token")
    if bos in special and bos != closing:
        names[BOS] = str(bos)
    return TextBase(tokens=tokens, names=names, ends=ends, chat_template=template, variables=variables)


def _plain(tokenizer: Any) -> str:
    """For a model without a template: the bare text, behind a <bos> where its tokenizer puts one."""
    first = tokenizer("a", add_special_tokens=True)["input_ids"][:1]
    puts_bos = tokenizer.bos_token_id is not None and first == [tokenizer.bos_token_id]
    return "{{- bos_token -}}" + PLAIN if puts_bos else PLAIN


def _ends(language: Language) -> list[str]:
    """Names of the tokens that the model's own ``generate`` stops at."""
    found = language.model.generation_config.eos_token_id
    ids = found if isinstance(found, list) else [] if found is None else [found]
    size = len(language.tokenizer)
    return [str(language.tokenizer.convert_ids_to_tokens(int(one))) for one in ids if 0 <= one < size]


def _closing(base: TextBase, tokenizer: Any) -> str | None:
    """The special token that the template writes behind an answer, if any."""
    answer = "answer"
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": answer}]
    _, _, rest = render(base, turns, is_asking=False).rpartition(answer)
    special = set(tokenizer.all_special_ids) | {
        one for one, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    ids = tokenizer(rest, add_special_tokens=False)["input_ids"]
    return next((str(tokenizer.convert_ids_to_tokens(one)) for one in ids if one in special), None)


def _check_text(where: str, own: Tokenizer, vocabulary: Vocabulary) -> None:
    for text in _PROBES:
        ids = vocabulary.encode_text(text)
        if list(own.encode(text, add_special_tokens=False).ids) != ids:
            raise GeneralistError(f"{where}: with our tokens its tokenizer reads {text!r} differently; give another")
        if b"".join(vocabulary.text_bytes(token) or b"" for token in ids) != text.encode():
            raise GeneralistError(
                f"{where}: its tokens do not write {text!r} back as it was (a space in front, or letters changed); "
                "give a model whose tokenizer works on bytes"
            )
