"""Requests that no server should fall for, as data: each is answered 4xx, at once, by a server that then goes on.

``JSON``: bodies of routes. ``BODIES``: bytes as they are sent. ``REMOTE``: URLs where remote images are allowed.
``RAW``: bytes on a socket. The pictures are in ``hostile_images``.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

from .hostile_images import IMAGES, png, png_bomb, saved

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
SEARCH, RERANK = "/v1/vector_stores/notes/search", "/v1/rerank"
LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


GOOD_IMAGE = data_url(saved("PNG", (32, 24)))


def question(*parts: Any, **fields: Any) -> dict[str, Any]:
    """A chat request with these parts as its question, and these fields."""
    content = list(parts) or "Where is the dog?"
    return {"model": "nano", "messages": [{"role": "user", "content": content}], **fields}


def image(url: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def text(words: Any) -> dict[str, Any]:
    return {"type": "text", "text": words}


def about(url: Any, **fields: Any) -> dict[str, Any]:
    return question(text("Where is the dog?"), image(url), **fields)


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"a": [value]}
    return value


def _nested_schema(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def _painted(data: bytes) -> dict[str, Any]:
    return about(GOOD_IMAGE, visual_prompts=[{"type": "mask", "png": data_url(data)}])


# --- chat: a wrong type or value for every field --------------------------------------------------------

_CHAT_FIELDS: dict[str, list[Any]] = {
    "model": [None, 5, [], {}, "", "other", "x" * 100_000, "../../etc/passwd", "nano\x00", "NANO"],
    "messages": [None, 5, "hello", {}, [], [None], [[]], ["hello"], [{}], [{"role": "user"}]],
    "max_tokens": [0, -1, 1.5, "5", [], 2**31, 2**70, 4096],
    "max_completion_tokens": [0, -5, "many", 10**9],
    "temperature": [-0.1, 2.1, "hot", [], 1e308, {}],
    "top_p": [0, -1, 1.1, "x", []],
    "top_k": [-1, 1.5, "x", 2**40],
    "n": [0, -1, 9, 1000, 2**62, "2", 1.5],
    "seed": ["x", 1.5, 2**64, []],
    "stop": [5, {}, [5], ["x"] * 100, ["x" * 100_000], [""]],
    "stream": ["yes", 1, []],
    "stream_options": [5, {"include_usage": "x"}, {"include_usage": True}],
    "logprobs": ["x", 5],
    "top_logprobs": [5, -1, "x", 21, 2.5, 1e300],
    "response_format": [5, {}, {"type": "xml"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": 5}],
    "task": [5, None, "", "dance", "../detect", []],
    "visual_format": [5, "pascal", []],
    "overlay": ["x", 5],
    "visual_prompts": [5, {}, [5], [{}], [{"type": "circle"}], [{"type": "point", "point": [1, 1]}] * 1000],
    "tools": [5, [{"type": "file_search"}], [{"type": "file_search", "vector_store_ids": ["../notes"]}]],
    "tool_choice": ["required", {"type": "function", "function": {"name": "rm"}}],
    "audio": [{"voice": "x"}],
    "modalities": [["audio"], 5],
    "logit_bias": [{"5": 100}],
    "frequency_penalty": [1.5],
    "n_choices": [5],
}
_VALUES = {
    f"{field}-{number}": (CHAT, question(**{field: value}))
    for field, values in _CHAT_FIELDS.items()
    for number, value in enumerate(values)
}

# --- chat: what the values do together -----------------------------------------------------------------

_ROLES = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
_BOX = {"type": "box", "box": [1, 1, 5, 5]}

_CHAT: dict[str, Any] = {
    "role-unknown": {"model": "nano", "messages": [{"role": "root", "content": "?"}]},
    "role-missing": {"model": "nano", "messages": [{"content": "?"}]},
    "role-wrong-type": {"model": "nano", "messages": [{"role": ["user"], "content": "?"}]},
    "content-missing": {"model": "nano", "messages": [{"role": "user"}]},
    "content-null": {"model": "nano", "messages": [{"role": "user", "content": None}]},
    "content-number": {"model": "nano", "messages": [{"role": "user", "content": 5}]},
    "content-empty": {"model": "nano", "messages": [{"role": "user", "content": ""}]},
    "content-blank": {"model": "nano", "messages": [{"role": "user", "content": " \n "}]},
    "content-no-parts": {"model": "nano", "messages": [{"role": "user", "content": []}]},
    "ends-with-the-assistant": {"model": "nano", "messages": _ROLES},
    "image-in-the-system": {"model": "nano", "messages": [{"role": "system", "content": [image(GOOD_IMAGE)]}]},
    "messages-too-many": {"model": "nano", "messages": (_ROLES * 600)[:-1]},
    "messages-not-a-list": {"model": "nano", "messages": {"0": _ROLES[0]}},
    "part-unknown": question({"type": "file", "file": {"file_id": "/etc/passwd"}}),
    "part-sound": question({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}),
    "part-nothing": question({}),
    "part-string": question("hello"),
    "parts-too-many": question(*[text("a")] * 5000),
    "text-number": question(text(5)),
    "text-null": question(text(None)),
    "text-huge": question(text("word " * 1_000_000)),
    "text-huge-without-spaces": question(text("a" * 5_000_000)),
    "text-above-limit": question(text("a" * 200_001)),
    "text-long-for-the-model": question(text("dog " * 20_000)),
    "image-url-missing": question({"type": "image_url"}),
    "image-url-string": question({"type": "image_url", "image_url": GOOD_IMAGE}),
    "image-url-null": question(image(None)),
    "image-url-number": question(image(5)),
    "image-url-list": question(image([GOOD_IMAGE])),
    "image-url-empty": question(image("")),
    "images-too-many": question(text("?"), *[image(GOOD_IMAGE)] * 9),
    "images-a-hundred": question(text("?"), *[image(GOOD_IMAGE)] * 100),
    "nested-deeply": question(metadata=nested(120)),
    "field-with-a-huge-name": question(**{"x" * 1_000_000: 1}),
    "fields-too-many": question(**{f"x{number}": number for number in range(50_000)}),
    "metadata-huge": question(metadata=[0] * 150_000),
    "box-of-3": about(GOOD_IMAGE, visual_prompts=[{"type": "box", "box": [1, 2, 3]}]),
    "box-of-words": about(GOOD_IMAGE, visual_prompts=[{"type": "box", "box": ["a", "b", "c", "d"]}]),
    "box-outside": about(GOOD_IMAGE, visual_prompts=[{"type": "box", "box": [1e30, 1e30, 2e30, 2e30]}]),
    "box-negative": about(GOOD_IMAGE, visual_prompts=[{"type": "box", "box": [-50, -50, -10, -10]}]),
    "point-outside": about(GOOD_IMAGE, visual_prompts=[{"type": "point", "point": [1e9, 5]}]),
    "point-label": about(GOOD_IMAGE, visual_prompts=[{"type": "point", "point": [1, 1], "label": 7}]),
    "points-that-all-exclude": about(GOOD_IMAGE, visual_prompts=[{"type": "point", "point": [1, 1], "label": 0}] * 3),
    "box-that-excludes": about(GOOD_IMAGE, visual_prompts=[_BOX | {"label": 0}]),
    "prompts-without-image": question(visual_prompts=[_BOX]),
    "prompts-too-many": about(GOOD_IMAGE, visual_prompts=[_BOX] * 10_000),
    "mask-of-another-size": _painted(saved("PNG", (31, 24), "L")),
    "mask-empty": _painted(saved("PNG", (32, 24), "L")),
    "mask-no-png": _painted(saved("JPEG", (32, 24), "L")),
    "mask-bomb": _painted(png_bomb(60_000, 60_000, 1, 0)),
    "mask-broken": _painted(b"\x89PNG"),
    "mask-of-a-server": about(GOOD_IMAGE, visual_prompts=[{"type": "mask", "png": "http://169.254.169.254/"}]),
    "mask-of-a-file": about(GOOD_IMAGE, visual_prompts=[{"type": "mask", "png": "file:///etc/passwd"}]),
    "schema-recursive": question(
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": {"$ref": "#"}},
        }
    ),
    "schema-remote": question(
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": {"$ref": "http://169.254.169.254/schema.json"}},
        }
    ),
    "schema-nonsense": question(
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "dragon"}}}
    ),
    "schema-nested": question(
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": _nested_schema(60)}}
    ),
    "url-remote-when-off": about("http://93.184.216.34/cat.png"),
    "url-file": about("file:///etc/passwd"),
    "url-path": about("/etc/passwd"),
    "url-ftp": about("ftp://10.0.0.1/cat.png"),
    "url-script": about("javascript:alert(1)"),
    "url-data-html": about("data:text/html;base64,PGI+"),
    "url-data-svg": about(data_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml")),
    "url-data-without-base64": about("data:image/png,%89PNG"),
    "url-data-broken": about("data:image/png;base64,@@@@"),
    "url-data-cut": about(GOOD_IMAGE[:-1]),
    "url-data-null": about(GOOD_IMAGE[:40] + "\x00" + GOOD_IMAGE[41:]),
    "url-data-huge-name": about(f"data:image/{'x' * 3_000_000};base64,AAAA"),
    "url-data-many-spaces": about("data:image/png;base64," + " " * 5_000_000),
    "url-data-spaced": about("data:image/png;base64," + "A " * 4_000_000),
    "url-data-percent": about("data:image/png;base64," + "%41" * 2_000_000),
}

# --- the other routes ------------------------------------------------------------------------------------

_SEARCH_FIELDS: dict[str, list[Any]] = {
    "query": [
        None,
        5,
        {},
        [],
        "",
        " \n",
        "a" * 5_000_000,
        ["a"] * 40_000,
        [["sofa"]],
        [5],
        ["sofa", ""],
        "word " * 9000,
    ],
    "max_num_results": [0, -1, 51, 2**70, 1.5, "5", []],
    "mode": [5, "", "magic", "../lexical", []],
    "find": ["page", 5, [], "entity\x00"],
    "filters": [nested(80), {"type": "eq", "key": "id", "value": 1}, [], 5, "id = 1"],
    "ranking_options": [5, [], {"ranker": "/etc/passwd"}, {"score_threshold": "x"}, {"score_threshold": -1}],
    "rewrite_query": [True, "yes"],
    "image": [5, "", "/etc/passwd", "file:///etc/passwd", "http://169.254.169.254/", "data:image/png;base64,@@"],
    "visual_prompts": [[{"type": "box", "box": [0, 0, 1, 1]}], 5, [[]]],
    "feedback": ["yes", 5],
    "__proto__": [{}],
}
_RERANK_FIELDS: dict[str, list[Any]] = {
    "model": [None, 5, "", "other", "../notes", "x" * 100_000],
    "query": [None, 5, [], "", " ", "a" * 5_000_000],
    "documents": [
        *(None, 5, "sofa", {}, [], [None], [5], [[]], [{"text": None}], [{"image": "x"}], ["a"] * 40_000),
        *(["a" * 2_000_000], ["a" * 900_000] * 12, [{"text": "a", "path": "/etc/passwd"}]),
    ],
    "top_n": [-1, 1.5, "2", []],
    "mode": ["dense", 5, None],
    "return_documents": ["yes", 5],
    "rank_fields": [["text"]],
}

_OTHERS: dict[str, tuple[str, Any]] = {
    "responses-nothing": (RESPONSES, {}),
    "responses-number": (RESPONSES, {"model": "nano", "input": 5}),
    "responses-no-items": (RESPONSES, {"model": "nano", "input": []}),
    "responses-model": (RESPONSES, {"model": "other", "input": "?"}),
    "responses-earlier": (RESPONSES, {"model": "nano", "input": "?", "previous_response_id": "resp_1"}),
    "responses-tokens": (RESPONSES, {"model": "nano", "input": "?", "max_output_tokens": 10**9}),
    "responses-file": (
        RESPONSES,
        {"model": "nano", "input": [{"role": "user", "content": [{"type": "input_file", "file_url": "file:///x"}]}]},
    ),
    "responses-image": (
        RESPONSES,
        {"model": "nano", "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "/etc"}]}]},
    ),
    "query-nothing": ("/v1/query", {}),
    "query-number": ("/v1/query", {"question": 5}),
    "query-huge": ("/v1/query", {"question": "a" * 1_000_000}),
    "query-image": ("/v1/query", {"question": "?", "image_url": "http://127.0.0.1/"}),
    "detect-nothing": ("/v1/detect", {"image_url": GOOD_IMAGE}),
    "detect-bomb": ("/v1/detect", {"image_url": data_url(png_bomb(60_000, 60_000)), "object": "dog"}),
    "detect-object": ("/v1/detect", {"image_url": GOOD_IMAGE, "object": {"$ne": ""}}),
    "point-refs": ("/v1/point", {"image_url": GOOD_IMAGE, "object": "dog", "spatial_refs": [[5, 5]]}),
    "segment-refs": ("/v1/segment", {"image_url": GOOD_IMAGE, "object": "dog", "spatial_refs": [[0.5] * 3]}),
    "segment-many-refs": ("/v1/segment", {"image_url": GOOD_IMAGE, "object": "dog", "spatial_refs": [[0, 0]] * 999}),
    "depth-nothing": ("/v1/depth", {}),
    "depth-file": ("/v1/depth", {"image_url": "file:///etc/passwd"}),
    "caption-length": ("/v1/caption", {"image_url": GOOD_IMAGE, "length": "endless"}),
    "caption-settings": ("/v1/caption", {"image_url": GOOD_IMAGE, "settings": {"max_tokens": 10**9}}),
    **{
        f"adapter-path-{number}": (LOAD, {"lora_name": "mine", "lora_path": path})
        for number, path in enumerate(
            [
                "../../../etc",
                "..",
                "/",
                "/etc",
                "/root/.ssh",
                "~",
                "~root/.ssh",
                "mine/../../..",
                "..\\..\\windows",
                "file:///etc",
                "http://169.254.169.254/",
                "hub/some-model",
                "mine\x00",
                "%2e%2e/%2e%2e/etc",
                "",
                " ",
                "x" * 100_000,
                "./../.",
                "//etc",
                "\\\\server\\share",
                "$HOME",
                "/proc/self/cwd",
                "/dev/zero",
                None,
                5,
                [],
            ]
        )
    },
    **{
        f"adapter-name-{number}": (LOAD, {"lora_name": name, "lora_path": "mine"})
        for number, name in enumerate(["", "../mine", "a/b", "nano", "a\x00b", "x" * 10_000, None, 5, "\n", "é\u202e"])
    },
    **{
        f"store-{number}": (f"/v1/vector_stores/{name}/search", {"query": "?"})
        for number, name in enumerate(
            [
                "other",
                "..",
                "../notes",
                "%2e%2e",
                "%2e%2e%2fnotes",
                "%2fetc",
                "notes%00",
                "notes%0a",
                "NOTES",
                "notes ",
                "notes%2f..%2f..%2fsecret",
                "x" * 10_000,
                "%ff",
                "file:%2f%2f%2fetc",
            ]
        )
    },
    **{
        f"search-{field}-{number}": (SEARCH, {"query": "sofa", field: value})
        for field, values in _SEARCH_FIELDS.items()
        for number, value in enumerate(values)
    },
    **{
        f"rerank-{field}-{number}": (RERANK, {"model": "notes", "query": "sofa", "documents": ["a sofa"], field: value})
        for field, values in _RERANK_FIELDS.items()
        for number, value in enumerate(values)
    },
    "search-nothing": (SEARCH, {}),
    "rerank-nothing": (RERANK, {}),
    "store-made": ("/v1/vector_stores", {"name": "mine", "file_ids": ["/etc/passwd"]}),
    "store-changed": ("/v1/vector_stores/notes", {"name": "../mine"}),
    "store-files": ("/v1/vector_stores/notes/files", {"file_id": "/etc/passwd"}),
    "adapter-nothing": (LOAD, {}),
    "adapter-unknown": (UNLOAD, {"lora_name": "nobody"}),
    "adapter-unload-path": (UNLOAD, {"lora_name": "../../etc"}),
    "adapter-unload-number": (UNLOAD, {"lora_name": 5}),
    "no-such-route": ("/v1/files", {"file": "/etc/passwd"}),
    "path-traversal": ("/v1/../../etc/passwd", {}),
    "path-encoded": ("/v1/%2e%2e/%2e%2e/etc/passwd", {}),
    "path-long": ("/" + "a" * 20_000, {}),
}

JSON: dict[str, tuple[str, Any]] = {
    **{f"chat-{name}": request for name, request in _VALUES.items()},
    **{f"chat-{name}": (CHAT, body) for name, body in _CHAT.items()},
    **_OTHERS,
}
"""Name -> (route, body)."""

PICTURES: dict[str, Callable[[], dict[str, Any]]] = {
    f"picture-{name}": lambda make=make: about(data_url(make()))
    for name, make in IMAGES.items()  # type: ignore[misc]
}
"""Name -> a chat request about a picture."""

# --- bodies ------------------------------------------------------------------------------------------

_GOOD = json.dumps(question()).encode()
_JSON_TYPE = {"content-type": "application/json"}


def _with(field: bytes) -> bytes:
    return _GOOD[:-1] + b", " + field + b"}"


BODIES: dict[str, tuple[Callable[[], bytes], dict[str, str]]] = {
    "empty": (lambda: b"", _JSON_TYPE),
    "not-json": (lambda: b"hello", _JSON_TYPE),
    "cut": (lambda: _GOOD[:-5], _JSON_TYPE),
    "twice": (lambda: _GOOD * 2, _JSON_TYPE),
    "list": (lambda: b"[]", _JSON_TYPE),
    "null": (lambda: b"null", _JSON_TYPE),
    "string": (lambda: b'"hello"', _JSON_TYPE),
    "nan": (lambda: _with(b'"temperature": NaN'), _JSON_TYPE),
    "infinity": (lambda: _with(b'"temperature": Infinity'), _JSON_TYPE),
    "minus-infinity": (lambda: _with(b'"top_p": -Infinity'), _JSON_TYPE),
    "overflow": (lambda: _with(b'"temperature": 1e999'), _JSON_TYPE),
    "overflow-negative": (lambda: _with(b'"top_p": -1e999'), _JSON_TYPE),
    "long-number": (lambda: _with(b'"seed": ' + b"9" * 5_000_000), _JSON_TYPE),
    "number-of-4000-digits": (lambda: _with(b'"seed": ' + b"9" * 4000), _JSON_TYPE),
    "not-utf-8": (lambda: _with(b'"user": "\xff\xfe"'), _JSON_TYPE),
    "overlong-utf-8": (lambda: _with(b'"user": "\xc0\xaf"'), _JSON_TYPE),
    "utf-16": (lambda: _GOOD.decode().encode("utf-16"), _JSON_TYPE),
    "utf-32": (lambda: _GOOD.decode().encode("utf-32"), _JSON_TYPE),
    "byte-order-mark": (lambda: b"\xef\xbb\xbf" + _GOOD, _JSON_TYPE),
    "half-character": (lambda: _GOOD.replace(b"the dog", b"\\ud800"), _JSON_TYPE),
    "control-character": (lambda: _GOOD.replace(b"the dog", b"\x01"), _JSON_TYPE),
    "bare-null-byte": (lambda: _GOOD + b"\x00", _JSON_TYPE),
    "deep-lists": (lambda: b"[" * 5_000_000, _JSON_TYPE),
    "deep-objects": (lambda: b'{"a":' * 1_000_000, _JSON_TYPE),
    "deep-inside": (lambda: _with(b'"user": ' + b"[" * 100_000 + b"]" * 100_000), _JSON_TYPE),
    "many-lists": (lambda: _with(b'"user": [' + b"[]," * 3_000_000 + b"0]"), _JSON_TYPE),
    "many-keys": (lambda: _with(b",".join(b'"k%d":0' % number for number in range(300_000))), _JSON_TYPE),
    "too-large": (lambda: _with(b'"user": "' + b"a" * 21_000_000 + b'"'), _JSON_TYPE),
    "form": (lambda: b"model=nano", {"content-type": "application/x-www-form-urlencoded"}),
    "multipart": (lambda: b"--x--", {"content-type": "multipart/form-data; boundary=x"}),
    "plain-text": (lambda: _GOOD, {"content-type": "text/plain"}),
    "no-type": (lambda: _GOOD, {}),
    "xml": (lambda: b'<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]>', {"content-type": "application/xml"}),
    "pickle": (lambda: b"\x80\x04.", {"content-type": "application/octet-stream"}),
    "gzip": (lambda: zlib.compress(_GOOD), _JSON_TYPE | {"content-encoding": "gzip"}),
    "gzip-bomb": (lambda: zlib.compress(bytes(50_000_000)), _JSON_TYPE | {"content-encoding": "deflate"}),
    "brotli": (lambda: _GOOD, _JSON_TYPE | {"content-encoding": "br"}),
}
"""Name -> (body of a chat request, its headers)."""

# --- remote images, where they are allowed ------------------------------------------------------------

REMOTE: list[str] = [
    *[f"http://{host}/cat.png" for host in (
        "127.0.0.1", "localhost", "LocalHost.", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.1", "0",
        "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
        "[fe80::1]", "[fd00:ec2::254]", "169.254.169.254", "metadata.test", "100.100.100.200", "10.0.0.1",
        "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "168.63.129.16",
        "private.test", "mixed.test", "mapped.test", "nowhere.test", "①②⑦.0.0.1", "127。0。0。1", "xn--", "-", "....",
        "user@public.test", "user:word@public.test", "public.test@127.0.0.1", "public.test:22", "public.test:6379",
        "public.test:0", "public.test:99999", "public.test:x", "[::1", "a" * 300, "%31%32%37.0.0.1",
    )],
    "https://127.0.0.1/", "https://private.test/", "http:///cat.png", "http://", "http:/127.0.0.1/",
    "http://public.test\r\nhost: private.test/", "http://public.test\x00.private.test/",
    "http://public.test/" + "a" * 5000, "gopher://127.0.0.1:6379/_x", "ftp://public.test/", "dict://127.0.0.1:11211/",
    "file:///etc/passwd", "unix:///var/run/docker.sock", "//127.0.0.1/", "blob:http://127.0.0.1/x",
]  # fmt: skip
"""URLs; ``NAMES`` says what their names resolve to, and no test may connect to any."""

NAMES: dict[str, list[str]] = {
    "public.test": ["93.184.216.34"],
    "private.test": ["10.0.0.1"],
    "metadata.test": ["169.254.169.254"],
    "mixed.test": ["93.184.216.34", "127.0.0.1"],
    "mapped.test": ["::ffff:10.0.0.1"],
    "nowhere.test": [],
}

# --- bytes on a socket ---------------------------------------------------------------------------------


def _head(*lines: str, path: str = CHAT, end: str = "\r\n\r\n") -> bytes:
    start = [f"POST {path} HTTP/1.1", "host: here", "content-type: application/json"]
    return ("\r\n".join([*start, *lines]) + end).encode("latin-1")


RAW: dict[str, bytes] = {
    "two-lengths": _head("content-length: 5", "content-length: 500") + b"hello",
    "length-list": _head("content-length: 5, 500") + b"hello",
    "length-negative": _head("content-length: -5"),
    "length-plus": _head("content-length: +5") + b"hello",
    "length-hex": _head("content-length: 0x5") + b"hello",
    "length-word": _head("content-length: five") + b"hello",
    "length-huge": _head("content-length: 99999999999"),
    "length-astronomic": _head("content-length: " + "9" * 400),
    "length-and-chunks": _head("content-length: 5", "transfer-encoding: chunked") + b"0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
    "length-too-large": _head("content-length: 21000000"),
    "length-too-large-and-expect": _head("content-length: 21000000", "expect: 100-continue"),
    "chunk-no-number": _head("transfer-encoding: chunked") + b"zz\r\nhello\r\n0\r\n\r\n",
    "chunk-negative": _head("transfer-encoding: chunked") + b"-5\r\nhello\r\n0\r\n\r\n",
    "chunk-huge": _head("transfer-encoding: chunked") + b"f" * 400 + b"\r\n",
    "chunk-longer-than-said": _head("transfer-encoding: chunked") + b"2\r\nhello\r\n0\r\n\r\n",
    "chunk-extension-huge": _head("transfer-encoding: chunked") + b"5;" + b"x" * 200_000 + b"\r\nhello\r\n0\r\n\r\n",
    "chunks-too-large": _head("transfer-encoding: chunked") + (b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 340,
    "encoding-twice": _head("transfer-encoding: chunked", "transfer-encoding: chunked") + b"0\r\n\r\n",
    "encoding-unknown": _head("transfer-encoding: gzip, chunked") + b"0\r\n\r\n",
    "encoding-disguised": _head("transfer-encoding: xchunked") + b"0\r\n\r\n",
    "header-null": _head("x-a: a\x00b", "content-length: 2") + b"{}",
    "header-control": _head("x-a: a\x0bb", "x-\x01: b", "content-length: 2") + b"{}",
    "header-name-empty": _head(": a", "content-length: 2") + b"{}",
    "header-name-space": _head("content-length : 2") + b"{}",
    "header-no-colon": _head("hello", "content-length: 2") + b"{}",
    "header-folded": _head("x-a: a\r\n b: c", "content-length: 2") + b"{}",
    "header-huge": _head("x-a: " + "a" * 200_000, "content-length: 2") + b"{}",
    "headers-many": _head(*[f"x-{number}: a" for number in range(20_000)], "content-length: 2") + b"{}",
    "header-never-ends": _head("x-a: " + "a" * 200_000, end=""),
    "line-huge": _head("content-length: 2", path="/" + "a" * 200_000) + b"{}",
    "line-spaces": b"POST  /  HTTP/1.1\r\nhost: here\r\n\r\n",
    "line-null": b"POST /\x00 HTTP/1.1\r\nhost: here\r\n\r\n",
    "line-nonsense": b"hello\r\n\r\n",
    "line-binary": bytes(range(256)) * 4 + b"\r\n\r\n",
    "no-host": b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}",
    "two-hosts": _head("host: there", "content-length: 2") + b"{}",
    "version-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version-9": b"POST / HTTP/9.9\r\nhost: here\r\n\r\n",
    "tls-hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n",
    "method-unknown": b"HACK /v1/chat/completions HTTP/1.1\r\nhost: here\r\n\r\n",
    "method-trace": b"TRACE /v1/chat/completions HTTP/1.1\r\nhost: here\r\n\r\n",
    "method-connect": b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: here\r\n\r\n",
    "absolute-target": b"GET http://169.254.169.254/latest HTTP/1.1\r\nhost: here\r\n\r\n",
    "dots-in-path": b"GET /../../../etc/passwd HTTP/1.1\r\nhost: here\r\n\r\n",
    "encoded-dots": b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nhost: here\r\n\r\n",
    "encoded-nonsense": b"GET /%ff%fe%zz HTTP/1.1\r\nhost: here\r\n\r\n",
    "body-cut": _head("content-length: 500") + b'{"model"',
    "body-none": _head("content-length: 500"),
    "chunks-cut": _head("transfer-encoding: chunked") + b'5\r\n{"mod',
    "websocket": b"GET /v1/chat/completions HTTP/1.1\r\nhost: here\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
    "memory-in-a-png": _head("content-length: 30") + png((b"IHDR", struct.pack(">II", 9, 9)))[:30],
}
"""What is sent; a body that does not come to its end is given up by a server with a short ``body_timeout_s``."""
